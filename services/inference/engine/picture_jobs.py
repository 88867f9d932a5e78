"""What the denoising batch keeps of each job, and what it says of each step."""

from __future__ import annotations

from dataclasses import dataclass

from services.inference.domain_jobs import ImageJob, Progress
from services.inference.engine.preparation import Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFigures:
    """What one round of steps did."""

    rows: int
    forward_rows: int
    seconds: float


@dataclass(slots=True, eq=False)
class PictureJob:
    """A job in the engine, from its arrival to its last picture."""

    job: ImageJob
    arrival: int
    preparing: bool = False
    prepared: Prepared | None = None
    joined: int = 0
    """Rows that have joined the batch so far."""
    active: int = 0
    finished: int = 0
    steps_done: int = 0
    told_at: float = 0.0

    @property
    def total_steps(self) -> int:
        """Denoising steps over all its pictures."""
        steps = self.prepared.plan.steps if self.prepared else self.job.steps
        return steps * self.job.count

    @property
    def waits(self) -> bool:
        """Whether a row of it could join."""
        return self.prepared is not None and self.joined < self.job.count

    @property
    def undecoded(self) -> int:
        """Rows that have left the batch and are no pictures yet."""
        return self.joined - self.active - self.finished

    def progress(self, step_seconds: float) -> Progress:
        """How far it is; what is left takes so many seconds a step, for all its rows in the batch at once."""
        total = self.total_steps
        rounds = (total - self.steps_done) / max(self.active, 1)
        return Progress(step=self.steps_done, total_steps=total, seconds_left=rounds * step_seconds)
