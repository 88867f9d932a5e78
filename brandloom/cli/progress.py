"""Progress of transfers and counts: a bar where somebody watches, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from brandloom.cli.plain import size
from brandloom.cli.session import Session
from brandloom.types.common import TransferProgress

_LINE_SECONDS: Final = 5.0


@contextmanager
def transfer(session: Session, title: str) -> Iterator[Callable[[TransferProgress], None]]:
    """A callback for `on_progress` of uploads and downloads."""
    if session.live:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=session.notes) as progress:
            task = progress.add_task(title, total=None)
            yield lambda now: progress.update(task, completed=now.done_bytes, total=now.total_bytes or None)
        return
    last = time.monotonic()

    def tell(now: TransferProgress) -> None:
        nonlocal last
        done = now.done_files == now.total_files
        if done or time.monotonic() - last > _LINE_SECONDS:
            last = time.monotonic()
            total = f" of {size(now.total_bytes)}" if now.total_bytes else ""
            files = f", {now.done_files} of {now.total_files} files" if now.total_files > 1 else ""
            session.note(f"{title}: {size(now.done_bytes)}{total}{files}")

    yield tell


@contextmanager
def counting(session: Session, title: str, *, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A callback that takes how many are done, of how many; `unit` says of what."""
    if session.live:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=session.notes) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > _LINE_SECONDS:
            last = time.monotonic()
            session.note(f"{title}: {done} of {total} {unit}")

    yield tell
