"""Label jobs while they run."""

from __future__ import annotations

from brandloom import LabelJob, LabelProgressEvent
from brandloom.cli.progress import counting
from brandloom.cli.session import Session


def follow_label_job(session: Session, job: LabelJob) -> LabelJob:
    """Shows the job's progress until it ends; gives its last state."""
    labeling = session.client.labeling
    with counting(session, "captioning") as report:
        for event in labeling.watch(job):
            if isinstance(event, LabelProgressEvent):
                report(event.progress.done, event.progress.total)
    return labeling.get(job)
