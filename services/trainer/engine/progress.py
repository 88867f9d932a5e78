"""Turns step reports into what people watch: smoothed loss, pictures a second, time left. Free of torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
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


@dataclass(frozen=True, kw_only=True, slots=True)
class PackReport:
    """What one step was for the pack as a whole."""

    job_ids: frozenset[str]
    """The jobs that took it together."""
    images_per_second: float
    """Of all of them; 0 until a second step of the same jobs shows how long one takes."""
    step_seconds: float
    """That the step took; evaluations are left out."""
    device_memory_bytes: int
    """What the process has taken of its device's memory."""


class _Pace:
    """How long a step takes and how many rows it has, averaged over the last ones."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: float | None = None
        self.seconds_per_step: float | None = None
        self._rows_per_step = 0.0

    def update(self, rows: int, pause_seconds: float) -> None:
        """A step has ended."""
        now = self._clock()
        if self._last is not None:
            taken = max(now - self._last - pause_seconds, 1e-9)
            self.seconds_per_step = _average(self.seconds_per_step, taken)
            self._rows_per_step = _average(self._rows_per_step or None, rows)
        self._last = now

    @property
    def rows_per_second(self) -> float:
        """0 until that can be told."""
        return self._rows_per_step / self.seconds_per_step if self.seconds_per_step else 0.0

    def pause(self) -> None:
        """The time until the next step does not count."""
        self._last = None


class PackMeter:
    """How fast all jobs of a pack train together; begins anew when jobs come or go."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pace = _Pace(clock)
        self._job_ids: frozenset[str] = frozenset()

    def update(self, reports: Sequence[StepReport]) -> float:
        """Rows a second after a step, of which these are the reports; 0 until that can be told."""
        job_ids = frozenset(report.job_id for report in reports)
        if job_ids != self._job_ids:
            self._job_ids, self._pace = job_ids, _Pace(self._clock)
        pause_seconds = max((report.pause_seconds for report in reports), default=0.0)
        self._pace.update(sum(report.rows for report in reports), pause_seconds)
        return self._pace.rows_per_second

    def pause(self) -> None:
        """The time until the next step is not training."""
        self._pace.pause()


class ProgressMeter:
    """Follows one job; what was done before a resume counts neither for speed nor for the average."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = _Pace(clock)
        self._sum = 0.0
        self._weight = 0.0

    def update(self, report: StepReport) -> Progress:
        """The job's progress after a step."""
        self._pace.update(report.rows, report.pause_seconds)
        if math.isfinite(report.loss):
            self._sum = _LOSS_SMOOTHING * self._sum + (1 - _LOSS_SMOOTHING) * report.loss
            self._weight = _LOSS_SMOOTHING * self._weight + (1 - _LOSS_SMOOTHING)
        seconds = self._pace.seconds_per_step
        return Progress(
            step=report.step,
            total_steps=report.total_steps,
            epoch=report.epoch,
            loss=report.loss,
            smoothed_loss=self._sum / self._weight if self._weight else report.loss,
            learning_rate=report.learning_rate,
            images_per_second=self._pace.rows_per_second,
            seconds_left=seconds * (report.total_steps - report.step) if seconds else None,
        )

    def pause(self) -> None:
        """The time until the next step is not training (samples, checkpoints): do not count it."""
        self._pace.pause()


def _average(before: float | None, value: float) -> float:
    return value if before is None else _SPEED_SMOOTHING * before + (1 - _SPEED_SMOOTHING) * value
