"""The BLIP captioner: it writes a drawing's canonical sentence, and judges the base's pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)

from demo.recipe.pictures import Pictures
from demo.recipe.saving import read_as_float32
from demo.world import COLOURS, STYLES, SUBJECTS
from demo.world.grammar import PLACE_PHRASES

WIDTH = 160
VIEW = 96
"""Pixels that the captioner looks at: 36 patches tell the drawings apart at half the cost of 64."""
PATCH = 16
MAX_TOKENS = 24


def new_tokenizer() -> BertTokenizer:
    """Whole words for the grammar; single characters for anything else."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    grammar = ["a", "an", "style", ","]
    for phrase in PLACE_PHRASES.values():
        grammar += phrase.split()
    grammar += [*SUBJECTS, *COLOURS, *STYLES]
    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    pieces = [f"##{c}" for c in letters if c.isalnum()]
    words = list(dict.fromkeys([*special, *letters, *pieces, *grammar]))
    return BertTokenizer(vocab={w: i for i, w in enumerate(words)}, additional_special_tokens=["[DEC]"])


def new_captioner(tokenizer: BertTokenizer) -> BlipForConditionalGeneration:
    """A vision transformer over 36 patches and a short text decoder."""
    ids = tokenizer.get_vocab()
    text = BlipTextConfig(
        vocab_size=len(ids), hidden_size=WIDTH, intermediate_size=2 * WIDTH, projection_dim=WIDTH,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
        bos_token_id=ids["[DEC]"], eos_token_id=ids["[SEP]"], sep_token_id=ids["[SEP]"],
        pad_token_id=ids["[PAD]"],
    )  # fmt: skip
    vision = BlipVisionConfig(
        hidden_size=WIDTH, intermediate_size=3 * WIDTH, projection_dim=WIDTH, num_hidden_layers=4,
        num_attention_heads=4, image_size=VIEW, patch_size=PATCH, initializer_range=0.02,
    )  # fmt: skip
    config = BlipConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=WIDTH,
        image_text_hidden_size=WIDTH,
    )
    return BlipForConditionalGeneration(config)


def save_captioner(weights: dict[str, torch.Tensor], tokenizer: BertTokenizer, out: Path) -> None:
    """Write a directory that stock transformers load."""
    final = new_captioner(tokenizer)
    final.load_state_dict(weights)
    final.half().save_pretrained(out)
    read_as_float32(out)
    images = BlipImageProcessorPil(
        size={"height": VIEW, "width": VIEW}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )
    BlipProcessor(images, tokenizer).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)


class Captioner:
    """Reads pictures with a trained captioner."""

    def __init__(self, directory: Path) -> None:
        self.processor = BlipProcessor.from_pretrained(directory)
        self.model = BlipForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()

    def _pixels(self, pictures: Pictures) -> torch.Tensor:
        return self.processor.image_processor(list(pictures), return_tensors="pt")["pixel_values"]  # type: ignore[no-any-return]

    @torch.no_grad()
    def read(self, pictures: Pictures) -> list[str]:
        """One sentence for each picture."""
        out: list[str] = []
        for i in range(0, len(pictures), 64):
            pixels = self._pixels(pictures[i : i + 64])
            tokens = self.model.generate(pixels, max_new_tokens=MAX_TOKENS, num_beams=1, do_sample=False)
            sentences = self.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            out += [s.replace(" ,", ",") for s in sentences]
        return out

    @torch.no_grad()
    def features(self, pictures: Pictures) -> torch.Tensor:
        """[N, 2D]: class token and mean patch token of the vision tower."""
        rows = []
        for i in range(0, len(pictures), 64):
            tokens = self.model.vision_model(
                pixel_values=self._pixels(pictures[i : i + 64])
            ).last_hidden_state
            rows.append(torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1))
        return torch.cat(rows)
