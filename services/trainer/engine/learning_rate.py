"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math


def learning_rate_factor(schedule: str, step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Factor on the learning rate for the step that follows `step` done ones.

    All but `constant` rise linearly over `warmup_steps`; `linear` and `cosine` then fall to 0 at
    `total_steps`. The first step never has factor 0. Raises ValueError for an unknown schedule.
    """
    if schedule == "constant":
        return 1.0
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant_with_warmup":
        return 1.0
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "linear":
        return max(0.0, 1.0 - done)
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    raise ValueError(f"the learning-rate schedule {schedule!r} is unknown")
