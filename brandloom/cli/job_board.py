"""Training jobs while they run: a table that moves where somebody watches, lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.measure import Measurement
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
    _names,
)
from brandloom.cli.job_facts import place
from brandloom.cli.plain import size, span, visible
from brandloom.cli.session import table

_LINE_SECONDS: Final = 5.0
_BAR_WIDTH: Final = 16
_REMARK_WIDTH: Final = 24
_WIDEST: Final = 4096
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
    """The newest known state of each job; what runs comes first, then what waits, then what has ended."""

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

    def refresh(self, job: TrainingJob) -> None:
        """Takes what no event tells: who trains a job, where it stands, and how many are before it."""
        self.jobs[job.name] = replace(
            self.jobs[job.name],
            worker=job.worker,
            queue_position=job.queue_position,
            placement=job.placement,
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, without the columns that matter least where the terminal is narrow."""
        columns = list(_COLUMNS)
        wide = options.update(min_width=0, max_width=_WIDEST)
        while True:
            droppable = [column for column in columns if column.goes]
            needed = Measurement.get(console, wide, self._table(columns)).maximum
            if not droppable or needed + _REMARK_WIDTH <= options.max_width:
                break
            columns.remove(max(droppable, key=lambda column: column.goes))
        yield self._table([*columns, _Column("", 0, self._remark)])

    def _table(self, columns: Sequence[_Column]) -> Table:
        # A terminal may have fewer lines than there are jobs: what runs is seen, then what waits.
        jobs = sorted(self.jobs.values(), key=lambda job: (job.state.ended, job.state is JobState.QUEUED))
        rows = [[column.cell(job) for column in columns] for job in jobs]
        return table([column.title for column in columns], rows)

    def _remark(self, job: TrainingJob) -> str:
        if job.lora_version:
            return _names.short(job.lora_version)
        if job.state is JobState.QUEUED and job.name not in self.remarks:
            before = f"{job.queue_position} before it" if job.queue_position else ""
            return "; ".join(part for part in (before, place(job)) if part)
        return self.remarks.get(job.name, "")


class _Bar(Table):
    """A progress bar that keeps its width in a cell."""

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__(box=None, show_header=False, padding=0)
        self.add_column(width=bar.width)
        self.add_row(bar)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the board. The one with the largest `goes` is the first to go; 0 stays."""

    title: str
    goes: int
    cell: Callable[[TrainingJob], object]


def _of_progress(figure: Callable[[TrainingProgress], str]) -> Callable[[TrainingJob], str]:
    """A figure of a job that has made a step."""
    return lambda job: figure(job.progress) if job.progress and job.progress.step else ""


def _speed(images_per_second: float) -> str:
    return f"{images_per_second:.1f}" if images_per_second else ""


def _bar(job: TrainingJob) -> object:
    now = job.progress
    total = now.total_steps if now else 0
    return _Bar(ProgressBar(total=total or 1, completed=now.step if now else 0, width=_BAR_WIDTH))


def _left(job: TrainingJob) -> str:
    return "" if job.state.ended or job.progress is None else span(job.progress.time_left)


_COLUMNS: Final = (
    _Column("LoRA", 0, lambda job: _names.last_segment(job.spec.lora)),
    _Column("brand", 0, lambda job: _names.short(job.spec.lora).partition("/")[0]),
    _Column("state", 0, lambda job: Text(job.state.lower(), style=_STYLES.get(job.state, ""))),
    _Column("", 5, _bar),
    _Column("step", 0, lambda job: f"{job.progress.step}/{job.progress.total_steps}" if job.progress else ""),
    _Column("loss", 9, _of_progress(lambda now: f"{now.loss:.4f}")),
    _Column("smoothed", 1, _of_progress(lambda now: f"{now.smoothed_loss:.4f}")),
    _Column("rate", 8, _of_progress(lambda now: f"{now.learning_rate:.2e}")),
    _Column("images/s", 3, _of_progress(lambda now: _speed(now.images_per_second))),
    _Column("pack", 4, _of_progress(lambda now: str(now.pack_size))),
    _Column("pack images/s", 6, _of_progress(lambda now: _speed(now.pack_images_per_second))),
    _Column(
        "memory",
        7,
        _of_progress(lambda now: size(now.device_memory_bytes) if now.device_memory_bytes else ""),
    ),
    _Column("left", 2, _left),
    _Column("worker", 10, lambda job: job.worker),
)


def event_line(job: TrainingJob, event: TrainingEvent) -> str:
    """One event in words."""
    lora = _names.short(job.spec.lora)
    match event:
        case StateEvent(state=state):
            return f"{lora}: {state.lower()}"
        case ProgressEvent(progress=now):
            left = f", {span(now.time_left)} left" if now.time_left else ""
            evaluated = "" if now.validation_loss is None else f", validation loss {now.validation_loss:.4f}"
            speed = f", {now.images_per_second:.1f} images/s" if now.images_per_second else ""
            return (
                f"{lora}: step {now.step} of {now.total_steps}, loss {now.smoothed_loss:.4f}{evaluated}"
                f"{speed}{_pack(now)}{left}"
            )
        case ErrorEvent(error=error):
            return f"{lora}: {error.message} ({error.reason})"
        case NoticeEvent(notice=notice):
            return f"{lora}: {notice}"
        case VersionEvent(lora_version=version):
            return f"{lora}: registered {version}"
        case ArtifactEvent(artifact=artifact):
            return f"{lora}: {artifact.file_name} is ready"


def _pack(now: TrainingProgress) -> str:
    memory = f", {size(now.device_memory_bytes)} of memory" if now.device_memory_bytes else ""
    if not now.pack_images_per_second or now.pack_size < 2:
        return memory
    return f", {now.pack_images_per_second:.1f} in the pack of {now.pack_size}{memory}"


async def follow_jobs(
    client: AsyncClient, jobs: AsyncIterator[TrainingJob], board: JobBoard, on_event: OnEvent | None
) -> None:
    """Watches all jobs at once, those that `jobs` yields later too, until each has ended."""
    try:
        async with asyncio.TaskGroup() as watches:
            async for job in jobs:
                board.add(job)
                watches.create_task(_watch(client, job, board, on_event))
    except* (BrandloomError, OSError) as failures:  # a reader of our lines may have gone
        raise failures.exceptions[0] from None


async def _watch(client: AsyncClient, job: TrainingJob, board: JobBoard, on_event: OnEvent | None) -> None:
    async for event in client.training.watch(job):
        board.apply(job.name, event)
        if isinstance(event, StateEvent) and event.state is JobState.PREPARING:
            board.refresh(await client.training.get(job))
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
        console.print(visible(event_line(job, event)), highlight=False, markup=False)

    return print_line
