"""Turns step reports into what people watch: smoothed loss, pictures a second, time left. Free of torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.trainer.engine.spec import StepReport

_LOSS_SMOOTHING = 0.95
_SPEED_SMOOTHING = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a job is."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    smoothed_loss: float
    """Exponential moving average, corrected for its start."""
    learning_rate: float
    images_per_second: float
    """0 until a second step shows how long one takes."""
    seconds_left: float | None
    """None until then."""


class ProgressMeter:
    """Follows one job; what was done before a resume counts neither for speed nor for the average."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._seconds_per_step: float | None = None
        self._rows_per_step = 0.0
        self._sum = 0.0
        self._weight = 0.0

    def update(self, report: StepReport) -> Progress:
        """The job's progress after a step."""
        now = self._clock()
        if self._last is not None:
            taken = max(now - self._last - report.pause_seconds, 1e-9)
            self._seconds_per_step = _average(self._seconds_per_step, taken)
            self._rows_per_step = _average(self._rows_per_step or None, report.rows)
        self._last = now
        if math.isfinite(report.loss):
            self._sum = _LOSS_SMOOTHING * self._sum + (1 - _LOSS_SMOOTHING) * report.loss
            self._weight = _LOSS_SMOOTHING * self._weight + (1 - _LOSS_SMOOTHING)
        pace = self._seconds_per_step
        return Progress(
            step=report.step,
            total_steps=report.total_steps,
            epoch=report.epoch,
            loss=report.loss,
            smoothed_loss=self._sum / self._weight if self._weight else report.loss,
            learning_rate=report.learning_rate,
            images_per_second=self._rows_per_step / pace if pace else 0.0,
            seconds_left=pace * (report.total_steps - report.step) if pace else None,
        )

    def pause(self) -> None:
        """The time until the next step is not training (samples, checkpoints): do not count it."""
        self._last = None


def _average(before: float | None, value: float) -> float:
    return value if before is None else _SPEED_SMOOTHING * before + (1 - _SPEED_SMOOTHING) * value
