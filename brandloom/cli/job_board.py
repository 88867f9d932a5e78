"""Training jobs while they run: a table that moves where somebody watches, lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from brandloom import (
    ArtifactEvent,
    AsyncClient,
    BrandloomError,
    ErrorEvent,
    JobState,
    NoticeEvent,
    ProgressEvent,
    StateEvent,
    TrainingEvent,
    TrainingJob,
    TrainingProgress,
    VersionEvent,
)
from brandloom._names import short
from brandloom.cli.plain import span
from brandloom.cli.session import table

_LINE_SECONDS: Final = 5.0
_STYLES: Final = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.CANCELLING: "yellow",
    JobState.RUNNING: "cyan",
}

OnEvent = Callable[[TrainingJob, TrainingEvent], None]
"""Called for every event, with the job as it was when the watch began."""


@dataclass
class JobBoard:
    """The newest known state of each job, in the order in which they were added."""

    jobs: dict[str, TrainingJob] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def add(self, job: TrainingJob) -> None:
        """A job to show."""
        self.jobs[job.name] = job

    def apply(self, name: str, event: TrainingEvent) -> None:
        """What has happened to a job."""
        job = self.jobs[name]
        match event:
            case StateEvent(state=state):
                job = replace(job, state=state)
                self.remarks.pop(name, None)
            case ProgressEvent(progress=progress):
                job = replace(job, progress=progress)
                self.remarks.pop(name, None)
            case ErrorEvent(error=error):
                self.remarks[name] = error.message
            case NoticeEvent(notice=notice):
                self.remarks[name] = notice
            case VersionEvent(lora_version=version):
                job = replace(job, lora_version=version)
            case ArtifactEvent(artifact=artifact):
                self.remarks[name] = f"{artifact.file_name} is ready"
        self.jobs[name] = job

    @property
    def ended(self) -> bool:
        """Whether no job goes on."""
        return all(job.state.ended for job in self.jobs.values())

    def __rich__(self) -> Table:
        columns = ("LoRA", "state", "", "step", "loss", "images/s", "left", "")
        return table(columns, [self._row(job) for job in self.jobs.values()])

    def _row(self, job: TrainingJob) -> Sequence[object]:
        now = job.progress
        total = now.total_steps if now else 0
        bar = ProgressBar(total=total or 1, completed=now.step if now else 0, width=24)
        state = Text(job.state.lower(), style=_STYLES.get(job.state, ""))
        remark = short(job.lora_version) if job.lora_version else self.remarks.get(job.name, "")
        left = None if job.state.ended or now is None else now.time_left
        figures = _figures(now) if now else ("", "", "")
        return (short(job.spec.lora), state, _Bar(bar), *figures, span(left), remark)


class _Bar(Table):
    """A progress bar that keeps its width in a cell."""

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__(box=None, show_header=False, padding=0)
        self.add_column(width=bar.width)
        self.add_row(bar)


def _figures(now: TrainingProgress) -> tuple[str, str, str]:
    return (
        f"{now.step}/{now.total_steps}",
        f"{now.smoothed_loss:.4f}" if now.step else "",
        f"{now.images_per_second:.1f}" if now.images_per_second else "",
    )


def event_line(job: TrainingJob, event: TrainingEvent) -> str:
    """One event in words."""
    lora = short(job.spec.lora)
    match event:
        case StateEvent(state=state):
            return f"{lora}: {state.lower()}"
        case ProgressEvent(progress=now):
            left = f", {span(now.time_left)} left" if now.time_left else ""
            evaluated = "" if now.validation_loss is None else f", validation loss {now.validation_loss:.4f}"
            speed = f", {now.images_per_second:.1f} images/s" if now.images_per_second else ""
            return (
                f"{lora}: step {now.step} of {now.total_steps}, loss {now.smoothed_loss:.4f}{evaluated}"
                f"{speed}{left}"
            )
        case ErrorEvent(error=error):
            return f"{lora}: {error.message} ({error.reason})"
        case NoticeEvent(notice=notice):
            return f"{lora}: {notice}"
        case VersionEvent(lora_version=version):
            return f"{lora}: registered {version}"
        case ArtifactEvent(artifact=artifact):
            return f"{lora}: {artifact.file_name} is ready"


async def follow_jobs(
    client: AsyncClient, jobs: AsyncIterator[TrainingJob], board: JobBoard, on_event: OnEvent | None
) -> None:
    """Watches all jobs at once, those that `jobs` yields later too, until each has ended."""
    try:
        async with asyncio.TaskGroup() as watches:
            async for job in jobs:
                board.add(job)
                watches.create_task(_watch(client, job, board, on_event))
    except* BrandloomError as failures:
        raise failures.exceptions[0] from None


async def _watch(client: AsyncClient, job: TrainingJob, board: JobBoard, on_event: OnEvent | None) -> None:
    async for event in client.training.watch(job):
        board.apply(job.name, event)
        if on_event:
            on_event(job, event)
    board.add(await client.training.get(job))


async def show_jobs(
    client: AsyncClient,
    jobs: AsyncIterator[TrainingJob],
    board: JobBoard,
    console: Console,
    *,
    live: bool,
    silent: bool = False,
) -> None:
    """Follows the jobs on a console until all have ended; the board holds their last states then."""
    if silent:
        await follow_jobs(client, jobs, board, None)
    elif live:
        with Live(board, console=console, refresh_per_second=5, get_renderable=lambda: board):
            await follow_jobs(client, jobs, board, None)
    else:
        await follow_jobs(client, jobs, board, _line_printer(console))


def _line_printer(console: Console) -> OnEvent:
    last: dict[str, float] = {}

    def print_line(job: TrainingJob, event: TrainingEvent) -> None:
        if isinstance(event, ProgressEvent):
            now = time.monotonic()
            final = event.progress.step == event.progress.total_steps
            if not final and now - last.get(job.name, -_LINE_SECONDS) < _LINE_SECONDS:
                return
            last[job.name] = now
        console.print(event_line(job, event), highlight=False, markup=False)

    return print_line
