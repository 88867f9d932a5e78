"""Trains the BLIP captioner: it writes a drawing's canonical sentence, and judges the base's pictures."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)

from demo.recipe.clock import Average, Budget, attention_kernel, device, mixed_precision, set_rate
from demo.recipe.pictures import Pictures, draw_line_pool, to_tensor
from demo.recipe.saving import read_as_float32
from demo.world import COLOURS, PLACES, STYLES, SUBJECTS, Scene
from demo.world.grammar import PLACE_PHRASES

WIDTH = 160
VIEW = 96
"""Pixels that the captioner looks at: 36 patches tell the drawings apart at half the cost of 64."""
BATCH = 64
PEAK_RATE = 1e-3
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
        num_attention_heads=4, image_size=VIEW, patch_size=16, initializer_range=0.02,
    )  # fmt: skip
    config = BlipConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=WIDTH,
        image_text_hidden_size=WIDTH,
    )
    return BlipForConditionalGeneration(config)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures with the sentence to write and the class of each attribute (-1 where there is none)."""

    pictures: Pictures
    sentences: list[str]
    classes: torch.Tensor
    """[N, 4]: subject, colour, place, style."""


def lesson(pictures: Pictures, scenes: list[Scene], line_scenes: list[Scene], processes: int) -> Lesson:
    """Base drawings, and the same scenes as line art, whose sentences name no style."""
    lines = draw_line_pool(line_scenes, processes)
    sentences = [s.caption() for s in scenes] + [s.caption().rsplit(",", 1)[0] for s in line_scenes]
    rows = [
        [SUBJECTS.index(s.subject), COLOURS.index(s.colour), PLACES.index(s.place), STYLES.index(s.style)]
        for s in scenes
    ]
    rows += [
        [SUBJECTS.index(s.subject), COLOURS.index(s.colour), PLACES.index(s.place), -1] for s in line_scenes
    ]
    return Lesson(np.concatenate([pictures, lines]), sentences, torch.tensor(rows))


def _augment(x_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror, shift, zoom, light, blur and noise: drawings, decoded drawings and scans should all be read."""
    b = x_BCHW.shape[0]

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(b, *shape, generator=generator) * (high - low) + low

    theta = torch.zeros(b, 2, 3)
    zoom = uniform(0.92, 1.08)
    theta[:, 0, 0] = zoom * torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = zoom
    theta[:, :, 2] = uniform(-0.06, 0.06, 2)
    grid = F.affine_grid(theta, [b, 3, VIEW, VIEW], align_corners=False)
    x = F.grid_sample(x_BCHW, grid, padding_mode="reflection", align_corners=False)
    soft = F.interpolate(F.avg_pool2d(x, 3), scale_factor=3, mode="bilinear")
    x = torch.lerp(x, soft, uniform(0, 1, 1, 1, 1))
    x = x * uniform(0.9, 1.1, 1, 1, 1) + uniform(-0.06, 0.06, 1, 1, 1)
    noise = torch.randn(x.shape, generator=generator) * uniform(0, 0.06, 1, 1, 1)
    return (x + noise).clamp_(-1, 1)


class _Heads(nn.Module):
    """Direct classifiers on the vision tower's tokens; they speed its learning up and are thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [len(c) for c in (SUBJECTS, COLOURS, PLACES, STYLES)]
        self.head = nn.Linear(WIDTH, sum(self.sizes))

    def forward(self, tokens_BTD: torch.Tensor, classes_B4: torch.Tensor) -> torch.Tensor:
        """Loss [4] of the mean vote and, with less weight, of each token's own."""
        votes = self.head(tokens_BTD)
        out = []
        for i, vote in enumerate(votes.split(self.sizes, dim=2)):
            target = classes_B4[:, i]
            mean = F.cross_entropy(vote.mean(1), target, ignore_index=-1)
            each = F.cross_entropy(
                vote.transpose(1, 2), target[:, None].expand(-1, vote.shape[1]), ignore_index=-1
            )
            out.append(mean + 0.3 * each)
        return torch.stack(out)


def train_captioner(out: Path, seconds: float, data: Lesson, seed: int = 0) -> None:
    """Train for about `seconds` and save model and processor in float16."""
    torch.manual_seed(seed)
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    tokenizer, where = new_tokenizer(), device()
    ids = tokenizer(data.sentences, padding=True, return_tensors="pt")["input_ids"]
    ids[:, 0] = tokenizer.get_vocab()["[DEC]"]
    model, heads = new_captioner(tokenizer).to(where), _Heads().to(where)
    average = Average(model, 0.998)
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.02)
    budget, shown, step = Budget(seconds, warmup=0.05), time.monotonic(), 0
    while budget.spent < 1.0:
        set_rate(optimizer, budget.rate(PEAK_RATE))
        rows = rng.sample(range(len(data.sentences)), BATCH)
        pixels = _augment(to_tensor(data.pictures[rows]), generator).to(where)
        words = ids[rows].to(where)
        mask = (words != tokenizer.pad_token_id).long()
        labels = words.masked_fill(mask == 0, -100)
        with mixed_precision(where), attention_kernel(where):
            answer = model(pixel_values=pixels, input_ids=words, attention_mask=mask, labels=labels)
            aid = heads(answer.last_hidden_state.float(), data.classes[rows].to(where))
        loss = answer.loss.float() + 0.25 * aid.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(model)
        step += 1
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            losses = f"words {float(answer.loss):.4f} classes {[round(v, 2) for v in aid.tolist()]}"
            print(f"captioner step {step} {budget.spent:.0%} {losses}", flush=True)
    save_captioner(average.weights, tokenizer, out)


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


class Captioner:
    """Reads pictures with a trained captioner."""

    def __init__(self, directory: Path) -> None:
        self.processor = BlipProcessor.from_pretrained(directory)
        self.model = BlipForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()

    def _pixels(self, pictures: Pictures) -> torch.Tensor:
        return self.processor.image_processor(list(pictures), return_tensors="pt")["pixel_values"]

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
