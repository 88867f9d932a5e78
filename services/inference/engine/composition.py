"""How the LoRAs of a job work together: which of them act in which steps, each with what share of the result.

In every step a picture's score is the sum of its parts' scores, each times its share. A part is a stack of
LoRAs that act as one adapter; what has windows, takes turns or is bound to a region is several parts, or
changes them from one step to the next. H, W are the latents' sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from services.inference.domain import Composition, Region, StepWindow
from services.inference.domain_jobs import ImageJob, LoraFile
from services.inference.engine.errors import JobError
from services.inference.engine.regions import region_map


@dataclass(frozen=True, slots=True)
class Part:
    """LoRAs that act as one adapter."""

    loras: tuple[LoraFile, ...]
    share: float | torch.Tensor
    """How much of the result is this part's: one number, or [H, W]."""


@dataclass(frozen=True, slots=True)
class Phase:
    """The parts from a step on, until the next phase."""

    first_step: int
    parts: tuple[Part, ...]


def compose(job: ImageJob, steps: int, height: int, width: int) -> tuple[Phase, ...]:
    """The phases of a job's rows, the first at step 0.

    Raises JobError for a window without a step, and for a mask that cannot be read.
    """
    spans = [_span(lora, steps) for lora in job.loras]
    maps = {
        lora.region: region_map(lora.region, height, width, field=f"loras[{index}].region.mask_png")
        for index, lora in enumerate(job.loras)
        if lora.region is not None
    }
    phases: list[Phase] = []
    before: tuple[int, ...] | None = None
    for step in range(steps):
        acting = tuple(_acting(job, spans, step))
        if acting != before:
            phases.append(Phase(step, _parts(job, [job.loras[index] for index in acting], maps)))
            before = acting
    return tuple(phases)


def _acting(job: ImageJob, spans: Sequence[range], step: int) -> Sequence[int]:
    acting = [index for index, span in enumerate(spans) if step in span]
    if job.composition is not Composition.SWITCH or not spans:
        return acting
    turn = step // job.switch_every % len(spans)
    return [turn] if turn in acting else []


def _parts(job: ImageJob, loras: Sequence[LoraFile], maps: dict[Region, torch.Tensor]) -> tuple[Part, ...]:
    if job.composition is Composition.COMPOSITE and loras:
        return tuple(Part((lora,), 1 / len(loras)) for lora in loras)
    everywhere = tuple(lora for lora in loras if lora.region is None)
    regions = dict.fromkeys(lora.region for lora in loras if lora.region is not None)
    if not regions:
        return (Part(everywhere, 1.0),)
    covered_HW = sum((maps[region] for region in regions), torch.zeros(()))
    rest_HW = (1 - covered_HW).clamp(min=0)
    # Where regions overlap, they share the place.
    whole_HW = covered_HW + rest_HW
    parts = [
        Part((*everywhere, *(lora for lora in loras if lora.region == region)), maps[region] / whole_HW)
        for region in regions
    ]
    if bool(rest_HW.any()):
        parts.append(Part(everywhere, rest_HW / whole_HW))
    return tuple(parts)


def _span(lora: LoraFile, steps: int) -> range:
    span = range(_first(lora.window.start, steps), _first(lora.window.end, steps))
    if not span:
        window: StepWindow = lora.window
        raise JobError(
            f"{lora.reference} is to work from {window.start:g} to {window.end:g} of the steps, and none of "
            f"{steps} lies there",
            kind="InvalidArgument",
            reason="STEP_WINDOW_EMPTY",
            field="stack",
            metadata={"reference": lora.reference},
        )
    return span


def _first(fraction: float, steps: int) -> int:
    # 0.7 * 10 is a little over 7 in floating point.
    return math.ceil(round(fraction * steps, 6))
