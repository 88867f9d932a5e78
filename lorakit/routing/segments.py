"""Training: contiguous rows of a batch belong to jobs, each with parameters of its own.

B rows, T tokens, D input and O output features, R rank, J jobs with N rows each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from lorakit.trainable import TrainableLora


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One job's rows of a batch."""

    rows: int
    modules: Mapping[str, TrainableLora]
    """Module path -> the job's parameters; a path that is not here is not adapted for these rows."""
    dropout: float = 0.0
    """Chance that an element behind the down projection is dropped."""
    generator: torch.Generator | None = None
    """Draws the dropped elements on the CPU; the job's own, so that companions change nothing."""
    first_row: int = 0
    drawn_rows: int = 0
    """Where the segment is a part of more rows: the generator draws for all `drawn_rows` of them, and the
    segment takes its own from `first_row` on, so that splitting changes nothing. 0: it is no part."""


@dataclass(slots=True)
class SegmentRouting:
    """Routes one forward pass, and its recomputation if there is one: make a new one for each batch.

    Segments follow each other from row 0 and cover the batch.
    """

    segments: Sequence[Segment]
    _masks: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)

    def add(self, module_path: str, x_BTD: torch.Tensor, y_BTO: torch.Tensor) -> torch.Tensor:
        """``y_BTO`` plus each job's delta in the job's rows. Raises ValueError if the segments do not cover
        the rows.
        """
        sizes = [segment.rows for segment in self.segments]
        if sum(sizes) != x_BTD.shape[0]:
            raise ValueError(f"the segments cover {sum(sizes)} rows of a batch of {x_BTD.shape[0]}")
        loras = [segment.modules.get(module_path) for segment in self.segments]
        present = [lora for lora in loras if lora is not None]
        if not present:
            return y_BTO
        if len(loras) == 1:
            return y_BTO + self._delta(module_path, 0, present[0], x_BTD).to(y_BTO.dtype)
        if len(present) == len(loras) and len(set(sizes)) == 1 and len({lora.rank for lora in present}) == 1:
            return y_BTO + self._stacked(module_path, present, x_BTD).to(y_BTO.dtype)
        # One split and one cat: a slice for each job would cost a gradient of the whole batch's size for each
        # job.
        deltas = [
            part_NTD.new_zeros((*part_NTD.shape[:2], y_BTO.shape[2]), dtype=y_BTO.dtype)
            if lora is None
            else self._delta(module_path, index, lora, part_NTD).to(y_BTO.dtype)
            for index, (lora, part_NTD) in enumerate(zip(loras, x_BTD.split(sizes), strict=True))
        ]
        return y_BTO + torch.cat(deltas)

    def add_convolved(
        self, module_path: str, convolution: nn.Conv2d, x_BDHW: torch.Tensor, y_BOHW: torch.Tensor
    ) -> torch.Tensor:
        """``y_BOHW`` as it is: such convolutions are not trained. ValueError if a segment has one."""
        if any(module_path in segment.modules for segment in self.segments):
            raise ValueError(f"{module_path} is a convolution with a kernel, which is not trained")
        return y_BOHW

    def _delta(self, path: str, index: int, lora: TrainableLora, x_NTD: torch.Tensor) -> torch.Tensor:
        down_RD, up_OR = _as_input(lora.down, x_NTD), _as_input(lora.up, x_NTD)
        hidden_NTR = functional.linear(x_NTD, down_RD) * lora.scale
        mask_NTR = self._mask(path, index, hidden_NTR)
        return functional.linear(hidden_NTR if mask_NTR is None else hidden_NTR * mask_NTR, up_OR)

    def _stacked(self, path: str, loras: Sequence[TrainableLora], x_BTD: torch.Tensor) -> torch.Tensor:
        """All jobs in two batched products; for jobs with as many rows and the same rank."""
        jobs, (rows, tokens, features) = len(loras), x_BTD.shape
        down_JRD = _as_input(torch.stack([lora.down for lora in loras]), x_BTD)
        up_JOR = _as_input(torch.stack([lora.up for lora in loras]), x_BTD)
        scale_J = torch.tensor([lora.scale for lora in loras], dtype=x_BTD.dtype, device=x_BTD.device)
        x_JMD = x_BTD.reshape(jobs, -1, features)
        hidden_JMR = torch.bmm(x_JMD, down_JRD.transpose(1, 2)) * scale_J[:, None, None]
        hidden_BTR = hidden_JMR.reshape(rows, tokens, -1)
        masks = [self._mask(path, index, part) for index, part in enumerate(hidden_BTR.chunk(jobs))]
        if any(mask is not None for mask in masks):
            ones_NTR = torch.ones_like(hidden_BTR[: rows // jobs])
            hidden_BTR = hidden_BTR * torch.cat([ones_NTR if mask is None else mask for mask in masks])
        delta_JMO = torch.bmm(hidden_BTR.reshape(jobs, -1, hidden_BTR.shape[2]), up_JOR.transpose(1, 2))
        return delta_JMO.reshape(rows, tokens, -1)

    def _mask(self, path: str, index: int, hidden_NTR: torch.Tensor) -> torch.Tensor | None:
        """0 where an element is dropped, 1 / (1 - p) elsewhere; None if nothing is. Kept for the
        recomputation.
        """
        segment = self.segments[index]
        if segment.dropout <= 0.0:
            return None
        mask_NTR = self._masks.get((path, index))
        if mask_NTR is None:
            keep = 1.0 - segment.dropout
            shape = (segment.drawn_rows or segment.rows, *hidden_NTR.shape[1:])
            drawn_NTR = torch.rand(shape, generator=segment.generator) < keep
            drawn_NTR = drawn_NTR[segment.first_row : segment.first_row + segment.rows]
            mask_NTR = (drawn_NTR.to(hidden_NTR.dtype) / keep).to(hidden_NTR.device)
            self._masks[path, index] = mask_NTR
        return mask_NTR


def _as_input(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A float32 parameter in the input's dtype; autocast does that itself."""
    return weight if torch.is_autocast_enabled(x.device.type) else weight.to(x.dtype)
