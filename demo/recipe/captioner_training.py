"""Trains the captioner on drawings whose sentences are known exactly."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertTokenizer, BlipForConditionalGeneration

from demo.recipe.captioner import PATCH, VIEW, WIDTH, new_captioner, new_tokenizer, save_captioner
from demo.recipe.clock import Average, Budget, attention_kernel, device, mixed_precision, set_rate
from demo.recipe.pictures import Pictures, draw_line_pool, to_tensor
from demo.world import COLOURS, PLACES, STYLES, SUBJECTS, Scene
from demo.world.render import subject_mask

BATCH = 64
PEAK_RATE = 1e-3
HIDDEN_PLACES = 0.35
"""Share of pictures shown without their place, at the start; it falls to nothing."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures with the sentence to write and the class of each attribute (-1 where there is none)."""

    pictures: Pictures
    sentences: list[str]
    classes: torch.Tensor
    """[N, 4]: subject, colour, place, style."""
    masks: torch.Tensor
    """uint8 [N, 32, 32]: how much of each cell the subject covers."""


def lesson(pictures: Pictures, scenes: list[Scene], line_scenes: list[Scene], processes: int) -> Lesson:
    """Base drawings, and more scenes as line art, whose sentences name no style."""
    lines = draw_line_pool(line_scenes, processes)
    sentences = [s.caption() for s in scenes] + [s.caption().rsplit(",", 1)[0] for s in line_scenes]
    rows = [
        [SUBJECTS.index(s.subject), COLOURS.index(s.colour), PLACES.index(s.place), STYLES.index(s.style)]
        for s in [*scenes, *line_scenes]
    ]
    classes = torch.tensor(rows)
    classes[len(scenes) :, 3] = -1
    masks = torch.stack([torch.from_numpy(subject_mask(s)) for s in [*scenes, *line_scenes]])
    return Lesson(np.concatenate([pictures, lines]), sentences, classes, masks)


def _augment(
    x_BCHW: torch.Tensor, mask_BHW: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
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
    mask = F.interpolate(mask_BHW[:, None].float() / 255, scale_factor=4, mode="bilinear")
    both = torch.cat([x_BCHW, mask], dim=1)
    both = F.grid_sample(both, grid, padding_mode="reflection", align_corners=False)
    x, mask = both[:, :3], both[:, 3:]
    soft = F.interpolate(F.avg_pool2d(x, 3), scale_factor=3, mode="bilinear")
    x = torch.lerp(x, soft, uniform(0, 1, 1, 1, 1))
    x = x * uniform(0.9, 1.1, 1, 1, 1) + uniform(-0.06, 0.06, 1, 1, 1)
    noise = torch.randn(x.shape, generator=generator) * uniform(0, 0.06, 1, 1, 1)
    return (x + noise).clamp_(-1, 1), mask


def _hide_place(
    x: torch.Tensor, mask: torch.Tensor, hidden: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Paint everything but the subject in one flat colour, in some of the pictures."""
    plain = torch.rand(len(x), 3, 1, 1, generator=generator) * 2 - 1
    return torch.lerp(x, plain.expand_as(x), (1 - mask) * hidden[:, None, None, None])


class _Heads(nn.Module):
    """Direct classifiers on the vision tower; they speed its learning up and are thrown away.

    Colours and places are learned at once, shapes only once the tower can tell figure from ground: so the
    tokens of its second layer are also asked how much of their patch the subject covers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [len(c) for c in (SUBJECTS, COLOURS, PLACES, STYLES)]
        self.head = nn.Linear(WIDTH, sum(self.sizes))
        self.cover = nn.Linear(WIDTH, 1)

    def forward(
        self,
        early_BTD: torch.Tensor,
        tokens_BTD: torch.Tensor,
        classes_B4: torch.Tensor,
        cover_BT: torch.Tensor,
    ) -> torch.Tensor:
        """Losses [5]: the mean vote on each attribute, and the cover of each patch."""
        votes = self.head(tokens_BTD)
        out = []
        for i, vote in enumerate(votes.split(self.sizes, dim=2)):
            out.append(F.cross_entropy(vote.mean(1), classes_B4[:, i], ignore_index=-1))
        on_subject = classes_B4[:, :1].expand(-1, cover_BT.shape[1]).masked_fill(cover_BT < 0.3, -1)
        subject = votes[:, 1:, : self.sizes[0]].transpose(1, 2)
        out[0] = out[0] + 0.5 * F.cross_entropy(subject, on_subject, ignore_index=-1)
        out.append(F.binary_cross_entropy_with_logits(self.cover(early_BTD)[:, 1:, 0], cover_BT))
        return torch.stack(out)


def _tap(layer: nn.Module) -> list[torch.Tensor]:
    """A list whose only item is always the layer's latest output."""
    seen = [torch.empty(0)]

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        seen[0] = output[0] if isinstance(output, tuple) else output

    layer.register_forward_hook(keep)
    return seen


@torch.no_grad()
def _whiten(model: BlipForConditionalGeneration, pixels_BCHW: torch.Tensor) -> None:
    """Start the patch embedding with the whitened principal parts of patches.

    A random start passes on little but a patch's mean colour, and shapes are learned many times more slowly.
    """
    embed = model.vision_model.embeddings.patch_embedding
    patches = F.unfold(pixels_BCHW, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T.cpu() @ (patches - mean).cpu() / len(patches))
    values, vectors = values.flip(0)[:WIDTH], vectors.flip(1)[:, :WIDTH]
    filters = (vectors / (values + 0.01 * values[WIDTH // 8]).sqrt()).T.to(patches.device) * 0.5
    embed.weight.copy_(filters.view_as(embed.weight))
    assert embed.bias is not None
    embed.bias.copy_(-filters @ mean)


@dataclass(frozen=True, slots=True)
class _Batch:
    pixels: torch.Tensor
    words: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    classes: torch.Tensor
    cover: torch.Tensor


class _Batches:
    """Random augmented batches of a lesson."""

    def __init__(self, data: Lesson, tokenizer: BertTokenizer, seed: int) -> None:
        self.data, self.pad = data, tokenizer.pad_token_id
        self.rng, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)
        self.ids = tokenizer(data.sentences, padding=True, return_tensors="pt")["input_ids"]
        self.ids[:, 0] = tokenizer.get_vocab()["[DEC]"]

    def next(self, hidden_share: float, where: torch.device) -> _Batch:
        """Pictures whose place is hidden teach no words and no place."""
        rows = self.rng.sample(range(len(self.data.sentences)), BATCH)
        hidden = torch.rand(BATCH, generator=self.generator) < hidden_share
        pixels, cover = _augment(to_tensor(self.data.pictures[rows]), self.data.masks[rows], self.generator)
        pixels = _hide_place(pixels, cover, hidden.float(), self.generator)
        words, classes = self.ids[rows], self.data.classes[rows].clone()
        classes[:, 2] = classes[:, 2].masked_fill(hidden, -1)
        mask = (words != self.pad).long()
        labels = words.masked_fill((mask == 0) | hidden[:, None], -100)
        patches = F.avg_pool2d(cover, PATCH).flatten(1).clamp(0, 1)
        return _Batch(*(x.to(where) for x in (pixels, words, mask, labels, classes, patches)))


def train_captioner(
    out: Path, seconds: float, data: Lesson, seed: int = 0, start: Path | None = None
) -> None:
    """Train for about `seconds`, from nothing or from a saved captioner, and save in float16."""
    torch.manual_seed(seed)
    tokenizer, where = new_tokenizer(), device()
    batches = _Batches(data, tokenizer, seed)
    model, heads = new_captioner(tokenizer).to(where), _Heads().to(where)  # type: ignore[arg-type]
    early = _tap(model.vision_model.encoder.layers[1])
    if start is None:
        _whiten(model, batches.next(0.0, where).pixels)
    else:
        model.load_state_dict(
            BlipForConditionalGeneration.from_pretrained(start, dtype=torch.float32).state_dict()
        )
    average = Average(model, 0.998)
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.02)
    budget, shown, step = Budget(seconds, warmup=0.05), time.monotonic(), 0
    while budget.spent < 1.0:
        set_rate(optimizer, budget.rate(PEAK_RATE))
        b = batches.next(HIDDEN_PLACES * (1 - budget.spent), where)
        with mixed_precision(where), attention_kernel(where):
            answer = model(pixel_values=b.pixels, input_ids=b.words, attention_mask=b.mask, labels=b.labels)
            aid = heads(early[0].float(), answer.last_hidden_state.float(), b.classes, b.cover)
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
            print(f"captioner {step} {budget.spent:.0%} {losses}", flush=True)
    save_captioner(average.weights, tokenizer, out)
