"""What one job does in one step of its pack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.trainer.engine.fault import JOB_RAISED, EngineFault
from services.trainer.engine.job import Job
from services.trainer.engine.port import Member
from services.trainer.engine.spec import ValidationReport


@dataclass(slots=True, eq=False)
class Turn:
    """One job's rows, and what becomes of them."""

    job: Job
    members: list[Member[Any, Any]] = field(default_factory=list)
    epoch: int = 0
    learning_rate: float = 0.0
    loss: float = 0.0
    rows: int = 0
    validation: ValidationReport | None = None
    notices: list[str] = field(default_factory=list)
    """What the job's owner should know of the step."""

    def draw(self) -> None:
        """Takes the job's next rows."""
        self.learning_rate = self.job.learning_rate
        self.members = self.job.draw()
        self.epoch = self.job.order.epoch
        self.rows = sum(len(member.rows) for member in self.members)

    def guarded(self, action: Callable[[], None]) -> None:
        """Whatever the job's own part raises ejects that job alone."""
        try:
            action()
        except Exception as error:
            self.eject(error)

    def eject(self, error: Exception) -> None:
        """Takes the job out, with its reason."""
        if isinstance(error, EngineFault):
            self.job.fault = error
        else:
            text = f"step {self.job.step + 1} failed: {type(error).__name__}: {error}"
            self.job.fault = EngineFault(JOB_RAISED, text)

    def kept(self) -> Callable[[], None]:
        """Undoes what passes that come after this call do to the job: gradients and loss."""
        parameters = self.job.parameters.parameters()
        gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
        loss = self.loss

        def restore() -> None:
            self.loss = loss
            for parameter, gradient in zip(parameters, gradients, strict=True):
                # The gradient may be needed once more.
                parameter.grad = None if gradient is None else gradient.clone()

        return restore
