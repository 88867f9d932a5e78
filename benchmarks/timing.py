"""Times two sides of a comparison in turn, so that what the machine does meanwhile hits both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Round = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Median seconds of a round on each side."""

    ours: float
    theirs: float
    runs: int

    @property
    def speedup(self) -> float:
        """How much faster ours is."""
        return self.theirs / self.ours


def compare(
    ours: Round, theirs: Round, *, device: str, seconds: float, least_runs: int = 7, warm_ups: int = 2
) -> Times:
    """A B A B for about `seconds`, after `warm_ups` rounds each that do not count."""
    for _ in range(warm_ups):
        ours()
        theirs()
    mine: list[float] = []
    yours: list[float] = []
    ends = time.monotonic() + seconds
    gc.collect()
    while time.monotonic() < ends or len(mine) < least_runs:
        mine.append(_timed(ours, device))
        yours.append(_timed(theirs, device))
    return Times(statistics.median(mine), statistics.median(yours), len(mine))


def _timed(step: Round, device: str) -> float:
    _wait(device)
    started = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
