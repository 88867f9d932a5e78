"""A moving average of a job's weights: what is shown, evaluated and registered instead of the last step's."""

from __future__ import annotations

import torch
from torch import Tensor

from lorakit.trainable import TrainableAdapter


class MovingAverage:
    """Follows a job's parameters; draws nothing and depends on nothing but them and the step."""

    def __init__(self, live: TrainableAdapter, decay: float) -> None:
        """Begins with the parameters as they are; `decay` is below 1."""
        self._live = tuple[Tensor, ...](live.parameters())
        self._decay = decay
        self.parameters = live.frozen_copy()
        self._averaged = tuple[Tensor, ...](self.parameters.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the parameters after optimizer step `step`, from 1, in."""
        # The first steps would weigh too much in a long average: the decay rises to its value.
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._live, 1.0 - decay)
