"""`brandloom label-jobs`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import click

from brandloom import JobFailed, JobState, LabelJob
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.labels import follow_label_job, label_facts
from brandloom.cli.options import listing
from brandloom.cli.plain import moment
from brandloom.cli.session import Session, pass_session

_EVENT_NAMES: Final = {
    "StateEvent": "state",
    "LabelProgressEvent": "progress",
    "LabeledEvent": "labeled",
    "ErrorEvent": "error",
}


@click.group("label-jobs", cls=Group)
def label_jobs() -> None:
    """Captioning jobs.

    `brandloom datasets label` starts one. A JOB goes by BRAND/DATASET/ID, as `list` shows it.
    """


@label_jobs.command("list")
@click.argument("dataset")
@listing
@pass_session
def list_label_jobs(session: Session, dataset: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List the captioning jobs of a dataset (BRAND/DATASET)."""
    session.show_list(
        session.client.labeling.list(dataset, filter=filter_, order_by=order_by),
        ("job", "state", "captioned", "failed", "created"),
        lambda job: (
            short(job.name),
            job.state.lower(),
            f"{job.progress.done}/{job.progress.total}" if job.progress else "",
            job.progress.failed if job.progress else "",
            moment(job.create_time),
        ),
        limit=limit,
    )


@label_jobs.command()
@click.argument("job")
@pass_session
def get(session: Session, job: str) -> None:
    """Show a captioning job: state, progress, error."""
    session.show(session.client.labeling.get(job), label_facts)


@label_jobs.command()
@click.argument("job")
@pass_session
def cancel(session: Session, job: str) -> None:
    """Stop a captioning job; captions that it has written stay."""
    session.show(session.client.labeling.cancel(job), label_facts)


@label_jobs.command()
@click.argument("job")
@pass_session
def watch(session: Session, job: str) -> None:
    """Follow a captioning job until it ends; its past events come first.

    A broken connection is made again, and no event is lost. Exits with 1 when the job failed or was
    cancelled.
    """
    now = session.client.labeling.get(job)
    last = _write_events(session, now) if session.json else follow_label_job(session, now)
    if not session.json:
        session.show(last, label_facts)
    if last.state is not JobState.SUCCEEDED:
        raise JobFailed(last)


def _write_events(session: Session, job: LabelJob) -> LabelJob:
    for event in session.client.labeling.watch(job):
        session.write_json_line(
            {"job": job.name, "event": _EVENT_NAMES[type(event).__name__], **asdict(event)}
        )
    return session.client.labeling.get(job)
