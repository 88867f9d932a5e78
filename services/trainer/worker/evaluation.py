"""What is said of a finished job: the figures of its version, and why it ended early."""

from __future__ import annotations

from collections.abc import Sequence

from services.trainer.engine import Outcome
from services.trainer.events import MetricPoint


def evaluation(outcome: Outcome, points: Sequence[MetricPoint]) -> dict[str, float]:
    """The figures that the version is registered with.

    `steps` were trained; `result_step` and `validation_loss` are of the weights that are registered.
    """
    figures = {"steps": float(outcome.step)}
    if points:
        figures |= {"final_loss": points[-1].loss, "smoothed_loss": points[-1].smoothed_loss}
    if outcome.validation_loss is not None:
        figures |= {"validation_loss": outcome.validation_loss, "result_step": float(outcome.result_step)}
    return figures


def early_end(outcome: Outcome, total_steps: int) -> str:
    """Why a job that was stopped early has ended."""
    last = outcome.validation
    assert last is not None
    return (
        f"stopped early after step {outcome.step} of {total_steps}: {last.stale} evaluations in a row found"
        f" no validation loss below the {last.best_loss:.4f} of step {last.best_step}"
    )
