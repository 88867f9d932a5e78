"""What all parts share: where they work, how long, on what, and the bases and LoRAs that they use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bases import Size, save_base
from benchmarks.report import Result
from benchmarks.serve.loras import LoraOnDisk, write_pool
from benchmarks.timing import Round, Times, compare

_WARM_UPS = 1
"""Rounds: each makes every shape that the next ones do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One case: a base, and the batch that is made with it."""

    size: Size
    rows: int
    steps: int
    stack: int = 2
    """LoRAs of a request."""
    rank: int = 8
    """Of each of them."""
    compiled: bool = False

    def title(self, precision: str) -> str:
        """For the table."""
        words = [
            f"{self.size.name} {self.size.resolution} px",
            f"batch {self.rows}",
            f"stacks of {self.stack} at rank {self.rank}",
            f"{self.steps} steps",
            precision,
        ]
        return ", ".join([*words, "compiled"] if self.compiled else words)


@dataclass(kw_only=True, slots=True)
class Bench:
    """A run of the benchmark."""

    home: Path
    """A directory of its own."""
    device: str
    precision: str
    hardware: str
    seconds: float
    """To spend on each timed pair."""
    least_runs: int
    settings: Sequence[Setting]
    """For the parts that time batches, the cheapest first."""
    joining: Setting
    """For R8: as many rows as still make a batch quicker than two of half as many."""
    attached: Sequence[Size]
    """The bases of R6."""
    arrivals: int
    """Requests of R7, and of each round of R8."""
    _pools: dict[tuple[str, int, int], list[LoraOnDisk]] = field(default_factory=dict)

    @property
    def smallest(self) -> Setting:
        """The cheapest setting."""
        return self.settings[0]

    def base(self, size: Size) -> Path:
        """The base's pipeline directory, written once."""
        directory = self.home / size.name
        return directory if directory.exists() else save_base(size, directory)

    def pool(self, size: Size, count: int, rank: int) -> list[LoraOnDisk]:
        """So many LoRA files for a base, written once."""
        key = (size.name, count, rank)
        if key not in self._pools:
            folder = self.home / f"{size.name}-{count}-rank-{rank}"
            self._pools[key] = write_pool(self.base(size), folder, count=count, rank=rank)
        return self._pools[key]

    def compare(self, ours: Round, theirs: Round) -> Times:
        """Median seconds of both, in turn."""
        return compare(
            ours,
            theirs,
            device=self.device,
            seconds=self.seconds,
            least_runs=self.least_runs,
            warm_ups=_WARM_UPS,
        )

    def speedup(self, ratio: str, setting: Setting, goal: float, peer: str, times: Times) -> Result:
        """How many more pictures a second ours makes than the peer."""
        return self.result(
            ratio,
            setting.title(self.precision),
            times.speedup,
            goal,
            ours=setting.rows / times.ours,
            theirs=setting.rows / times.theirs,
            peer=peer,
            unit="pictures/s",
            runs=times.runs,
        )

    def result(self, ratio: str, case: str, value: float, goal: float | None, **rest: Any) -> Result:
        """A result on this hardware, its figures rounded."""
        for name in ("ours", "theirs"):
            rest[name] = float(f"{rest[name]:.4g}")
        return Result(
            ratio=ratio, case=case, value=round(value, 3), goal=goal, hardware=self.hardware, **rest
        )
