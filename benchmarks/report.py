"""Results of benchmarks: a table for people, a JSON file for the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One ratio of ours to a peer's in one case."""

    ratio: str
    """Which of the ratios that the docs define: R4, R5 ..."""
    case: str
    value: float
    goal: float | None
    """None: the ratio is told, no goal is set."""
    at_most: bool = False
    """Whether the goal is a ceiling: memory, latency."""
    ours: float
    theirs: float
    peer: str
    unit: str
    runs: int
    hardware: str

    @property
    def reached(self) -> bool:
        """Whether the goal is met, if there is one."""
        if self.goal is None:
            return True
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def write(results: Sequence[Result], name: str) -> Path:
    """Writes `benchmarks/results/<name>.json` and prints the table."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    show(results, name)
    return path


def show(results: Sequence[Result], name: str) -> None:
    """Prints the table."""
    table = Table(title=f"{name} ({results[0].hardware})", title_justify="left")
    for heading in ("ratio", "case", "value", "goal", "ours", "theirs", "unit", "peer", "runs"):
        table.add_column(heading, overflow="fold")
    for result in results:
        sign = "<=" if result.at_most else ">="
        table.add_row(
            result.ratio,
            result.case,
            f"[{'green' if result.reached else 'red'}]{result.value:.2f}[/]",
            "" if result.goal is None else f"{sign} {result.goal:.2f}",
            f"{result.ours:.4g}",
            f"{result.theirs:.4g}",
            result.unit,
            result.peer,
            str(result.runs),
        )
    Console(width=160).print(table)
