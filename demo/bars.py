"""Several counts at once: bars where somebody watches, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_SECONDS: Final = 5.0


class Count(Protocol):
    """Takes a name, how many are done, and of how many."""

    def __call__(self, name: str, done: int, total: int, /) -> None:
        """Shows it."""
        ...


@contextmanager
def counting(console: Console, names: Iterable[str]) -> Iterator[Count]:
    """Shows a count for each name until the block is left."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("  {task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = {name: progress.add_task(name, total=None) for name in names}

        def show(name: str, done: int, total: int) -> None:
            progress.update(bars[name], completed=done, total=total)

        yield show


class _Lines:
    """Prints a name's count when it is complete, and every few seconds before."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}

    def __call__(self, name: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        if done < total and now - self._last.get(name, 0.0) < _LINE_SECONDS:
            return
        self._last[name] = now
        self._console.print(f"  {name}: {done} of {total}")
