"""Label jobs while they run, and how one is shown."""

from __future__ import annotations

from typing import Any

from brandloom import LabelJob, LabelProgressEvent
from brandloom._names import short
from brandloom.cli.progress import counting
from brandloom.cli.session import Session, facts


def follow_label_job(session: Session, job: LabelJob) -> LabelJob:
    """Shows the job's progress until it ends; gives its last state."""
    labeling = session.client.labeling
    try:
        with counting(session, "captioning", unit="pictures") as report:
            for event in labeling.watch(job):
                if isinstance(event, LabelProgressEvent):
                    report(event.progress.done, event.progress.total)
    except KeyboardInterrupt:
        name = short(job.name)
        session.note(f"the job goes on: `brandloom label-jobs watch {name}` or `... cancel {name}`")
        raise
    return labeling.get(job)


def label_facts(job: LabelJob) -> Any:
    """The job for a terminal."""
    now = job.progress
    return facts(
        [
            ("name", job.name),
            ("state", job.state.lower()),
            ("captioned", f"{now.done} of {now.total}, {now.failed} failed" if now else ""),
            ("captioner", job.captioner),
            ("error", job.error.message if job.error else ""),
        ]
    )
