"""Training schedules that follow the wall clock, so that a run ends when it was told to end."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@dataclass(slots=True)
class Budget:
    """A number of seconds to spend, and the learning rate that goes with the share already spent."""

    seconds: float
    warmup: float = 0.03
    floor: float = 0.02
    started: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """Share of the budget used, 0 to 1."""
        return min((time.monotonic() - self.started) / self.seconds, 1.0)

    def rate(self, peak: float) -> float:
        """Linear warm-up, then a cosine down to `floor` times the peak."""
        spent = self.spent
        if spent < self.warmup:
            return peak * max(spent / self.warmup, 0.02)
        share = (spent - self.warmup) / (1.0 - self.warmup)
        return peak * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * share)))


@dataclass(slots=True)
class Running:
    """A decaying mean of a number."""

    decay: float
    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> None:
        """Take in one value."""
        self.total = self.total * self.decay + value
        self.weight = self.weight * self.decay + 1.0

    @property
    def mean(self) -> float:
        """The mean so far."""
        return self.total / max(self.weight, 1e-9)


class Average:
    """Exponential moving average of a model's weights, with a horizon that grows from zero."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after one step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        mine, theirs = [], []
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                mine.append(self.weights[key])
                theirs.append(value)
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group (times the group's own factor)."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def _has_tiles(where: torch.device) -> bool:
    return where.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def mixed_precision(where: torch.device) -> torch.autocast:
    """bfloat16 on a GPU or a CPU with matrix tiles; on other CPUs it is slower than float32."""
    enabled = where.type == "cuda" or _has_tiles(where)
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=enabled)


def attention_kernel(where: torch.device) -> AbstractContextManager[None]:
    """For few tokens in bfloat16 on a CPU the flash kernel's backward pass is slow: the plain one is used."""
    return sdpa_kernel(SDPBackend.MATH) if _has_tiles(where) else nullcontext()


def device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
