"""`brandloom jobs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

import brandloom
from brandloom import AsyncClient, JobFailed, JobState, TrainingEvent, TrainingJob, TrainingSpec
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.job_board import JobBoard, follow_jobs, show_jobs
from brandloom.cli.job_facts import check_facts, job_facts
from brandloom.cli.options import listing
from brandloom.cli.plain import moment, size
from brandloom.cli.progress import transfer
from brandloom.cli.session import Session, pass_session
from brandloom.cli.training_options import chosen, training_settings

_UNFINISHED: Final = 'NOT (state = "SUCCEEDED" OR state = "FAILED" OR state = "CANCELLED")'
_POLL_SECONDS: Final = 2.0
_EVENT_NAMES: Final = {
    "StateEvent": "state",
    "ProgressEvent": "progress",
    "ArtifactEvent": "artifact",
    "ErrorEvent": "error",
    "NoticeEvent": "notice",
    "VersionEvent": "lora_version",
}


@click.group(cls=Group)
def jobs() -> None:
    """Training jobs."""


@jobs.command()
@click.argument("lora")
@click.option("--dataset", required=True, help="BRAND/DATASET for its latest revision, or BRAND/DATASET@N.")
@click.option("--base-model", required=True, help="Name of a registered model.")
@click.option("--display-name", default="", help="A name for people.")
@click.option("--priority", default=0, help="Larger goes first (-100 to 100).")
@click.option("--dry-run", is_flag=True, help="Show the spec with its defaults and advice; start nothing.")
@training_settings
@pass_session
def create(
    session: Session,
    /,
    lora: str,
    dataset: str,
    base_model: str,
    display_name: str,
    priority: int,
    dry_run: bool,
    **settings: Any,
) -> None:
    """Train a new version of a LoRA (BRAND/LORA)."""
    spec = TrainingSpec.build(lora, dataset, base_model=base_model, **chosen(settings))
    if dry_run:
        session.show(session.client.training.validate(spec), check_facts)
        return
    job = session.client.training.create(spec, display_name=display_name, priority=priority)
    session.show(job, job_facts)


@jobs.command()
@click.argument("source", metavar="JOB_OR_VERSION")
@click.option("--lora", default="", help="BRAND/LORA, of the same brand, that gets the version.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Another seed than the original's.")
@click.option("--display-name", default="", help="A name for people.")
@click.option("--priority", default=0, help="Larger goes first (-100 to 100).")
@click.option("--dry-run", is_flag=True, help="Show the spec and advice; start nothing.")
@pass_session
def replicate(
    session: Session,
    source: str,
    lora: str,
    seed: int | None,
    display_name: str,
    priority: int,
    dry_run: bool,
) -> None:
    """Train once more what a job (BRAND/JOB) or a version (BRAND/LORA@3) was trained with.

    The revision, the parent, the seed and every default are those of the original, so that the same comes
    out as far as the machine allows.
    """
    training = session.client.training
    if dry_run:
        session.show(training.validate(training.spec_of(source, lora=lora, seed=seed)), check_facts)
        return
    job = training.replicate(source, lora=lora, seed=seed, display_name=display_name, priority=priority)
    session.show(job, job_facts)


@jobs.command("list")
@click.argument("brand", default="-")
@listing
@pass_session
def list_jobs(session: Session, brand: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List the jobs of a brand, or of all brands."""
    session.show_list(
        session.client.training.list(brand, filter=filter_, order_by=order_by),
        ("job", "LoRA", "state", "step", "loss", "created"),
        lambda job: (
            short(job.name),
            short(job.spec.lora),
            job.state.lower(),
            f"{job.progress.step}/{job.progress.total_steps}" if job.progress else "",
            f"{job.progress.smoothed_loss:.4f}" if job.progress else "",
            moment(job.create_time),
        ),
        limit=limit,
    )


@jobs.command()
@click.argument("job")
@pass_session
def get(session: Session, job: str) -> None:
    """Show a job: state, advice, files."""
    session.show(session.client.training.get(job), job_facts)


@jobs.command()
@click.argument("job")
@pass_session
def cancel(session: Session, job: str) -> None:
    """Ask a job to stop."""
    session.show(session.client.training.cancel(job), job_facts)


@jobs.command()
@click.argument("job")
@pass_session
def resume(session: Session, job: str) -> None:
    """Let a failed or cancelled job go on from its last checkpoint."""
    session.show(session.client.training.resume(job), job_facts)


@jobs.command()
@click.argument("names", metavar="[JOB]...", nargs=-1)
@click.option("--all-brands", is_flag=True, help="All that run or wait; so it is without a name too.")
@pass_session
def watch(session: Session, names: tuple[str, ...], all_brands: bool) -> None:
    """Follow jobs until they end; without a name, all that run or wait, in every brand.

    A terminal shows a table that keeps itself up to date, with fewer columns where it is narrow; elsewhere
    each event is a line. A broken connection is made again, and no event is lost. Exits with 1 when a job
    failed or was cancelled.
    """
    if names and all_brands:
        raise click.UsageError("--all-brands goes without the names of jobs")
    try:
        board = asyncio.run(_watch(session, names))
    except KeyboardInterrupt:
        session.note(
            "jobs go on: `brandloom jobs watch` follows them again, `brandloom jobs cancel` stops one"
        )
        raise
    if not board.jobs:
        session.note("no job is running")
    for job in board.jobs.values():
        if job.state is not JobState.SUCCEEDED:
            raise JobFailed(job)


@jobs.command()
@click.argument("job")
@click.option("--points", default=0, help="Most points (default: 1000).")
@pass_session
def metrics(session: Session, job: str, points: int) -> None:
    """Show a job's losses, learning rate and speed over its steps."""
    session.show_list(
        session.client.training.metrics(job, max_points=points),
        (
            "step",
            "loss",
            "smoothed",
            "validation",
            "learning rate",
            "images/s",
            "pack images/s",
            "memory",
        ),
        lambda point: (
            point.step,
            f"{point.loss:.4f}",
            f"{point.smoothed_loss:.4f}",
            "" if point.validation_loss is None else f"{point.validation_loss:.4f}",
            f"{point.learning_rate:.3g}",
            f"{point.images_per_second:.1f}" if point.images_per_second else "",
            f"{point.pack_images_per_second:.1f}" if point.pack_images_per_second else "",
            size(point.device_memory_bytes) if point.device_memory_bytes else "",
        ),
    )


@jobs.command()
@click.argument("job")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--file", "file_name", help="One file; else all but checkpoints.")
@pass_session
def download(session: Session, job: str, destination: Path, file_name: str | None) -> None:
    """Write the files that a job made into a folder."""
    training = session.client.training
    artifacts = training.get(job).artifacts
    wanted = [item for item in artifacts if item.kind != "CHECKPOINT"]
    names = [file_name] if file_name else [item.file_name for item in wanted]
    destination.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        with transfer(session, name) as report:
            paths.append(training.download(job, name, destination, on_progress=report))
    session.show_list(paths, ("file",), lambda path: (path,))


async def _watch(session: Session, names: tuple[str, ...]) -> JobBoard:
    async with brandloom.connect_async(**session.connection()) as client:
        board = JobBoard()
        found = _named(client, names) if names else _unfinished(client, board)
        if not session.json:
            await show_jobs(client, found, board, session.out, live=session.out.is_terminal)
            return board

        def write(job: TrainingJob, event: TrainingEvent) -> None:
            session.write_json_line(
                {"job": job.name, "event": _EVENT_NAMES[type(event).__name__], **asdict(event)}
            )

        await follow_jobs(client, found, board, write)
        return board


async def _named(client: AsyncClient, names: tuple[str, ...]) -> AsyncIterator[TrainingJob]:
    for name in names:
        yield await client.training.get(name)


async def _unfinished(client: AsyncClient, board: JobBoard) -> AsyncIterator[TrainingJob]:
    """Jobs that have not ended, those that are made meanwhile too, until all on the board have."""
    while True:
        async for job in client.training.list(filter=_UNFINISHED, order_by="create_time"):
            if job.name not in board.jobs:
                yield job
            else:
                board.refresh(job)
        if board.ended:
            return
        await asyncio.sleep(_POLL_SECONDS)
