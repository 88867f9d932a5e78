"""Rows of the denoising batch: one picture each, with a stack of its own in every step.

H, W are the latents' sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.families.diffusion_base import EncodedTexts
from lorakit.routing import RowAdapter
from lorakit.samplers import SamplingRow
from services.inference.engine.beginnings import InitialPicture
from services.inference.engine.preview_colours import PreviewColours


@dataclass(frozen=True, slots=True)
class Branch:
    """A score of its own: what one stack says to one prompt."""

    adapter: RowAdapter | None
    prompt: EncodedTexts
    negative: EncodedTexts | None
    """None if no second forward is needed."""
    share: float | torch.Tensor
    """How much of the row's score is this one's: one number, or [H, W]."""

    @property
    def copies(self) -> int:
        """Forward rows that it takes."""
        return 1 if self.negative is None else 2


@dataclass(frozen=True, slots=True)
class RowPhase:
    """The branches from a step on, until the next phase."""

    first_step: int
    branches: tuple[Branch, ...]

    @property
    def forward_rows(self) -> int:
        """Forward rows of a step."""
        return sum(branch.copies for branch in self.branches)


@dataclass(slots=True, eq=False)
class BatchRow:
    """One picture in the making."""

    job_id: str
    index: int
    """Which picture of its job."""
    seed: int
    sampling: SamplingRow
    guidance: float
    phases: tuple[RowPhase, ...]
    time_ids_6: torch.Tensor
    """What families with micro-conditioning are told of the picture's size."""
    initial: InitialPicture | None = None
    """What it began from; None: noise alone."""
    colours: PreviewColours | None = None
    """None: nobody wants previews."""
    preview_every: int = 0
    """Steps from one preview to the next."""
    _phase: int = 0

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Those of the step that is next."""
        return self.phases[self._phase].branches

    @property
    def forward_rows(self) -> int:
        """Forward rows of the step that is next."""
        return self.phases[self._phase].forward_rows

    def enter_phase(self) -> bool:
        """Go on to the phase of the step that is next; whether that is another one."""
        before = self._phase
        while (
            self._phase + 1 < len(self.phases)
            and self.phases[self._phase + 1].first_step <= self.sampling.step
        ):
            self._phase += 1
        return self._phase != before
