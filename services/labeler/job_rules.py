"""How a label job moves from state to state. Pure: each step gives the new job and the events that tell of
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

from servicekit.errors import FailedPrecondition
from servicekit.ids import new_id
from services.labeler.domain import (
    MAX_ATTEMPTS,
    Failure,
    JobState,
    LabeledImage,
    LabelEvent,
    LabelJob,
    LabelProgress,
)

Step = tuple[LabelJob, list[LabelEvent]]


def told(job: LabelJob, now: datetime, *events: JobState | LabelProgress | LabeledImage | Failure) -> Step:
    """The job after these events, which get the next numbers; a state among them becomes the job's."""
    numbered = [LabelEvent(job.last_sequence + index, now, event) for index, event in enumerate(events, 1)]
    states = [event for event in events if isinstance(event, JobState)]
    changed = dataclasses.replace(
        job,
        last_sequence=job.last_sequence + len(events),
        state=states[-1] if states else job.state,
        etag=new_id(),
    )
    return changed, numbered


def claimed(job: LabelJob, now: datetime, lease_seconds: float) -> Step:
    """The job in a runner's hands, under a new fence; FAILED when it has been taken up too often."""
    if job.state is JobState.CANCELLING:
        # Its runner died before it could stop.
        return ended(job, now, JobState.CANCELLED)
    if job.attempts >= MAX_ATTEMPTS:
        message = f"the job was taken up {job.attempts} times and never came to an end"
        return ended(job, now, JobState.FAILED, Failure("TOO_MANY_ATTEMPTS", message))
    taken = dataclasses.replace(
        job,
        attempts=job.attempts + 1,
        fence=job.fence + 1,
        lease_until=now + timedelta(seconds=lease_seconds),
        start_time=job.start_time or now,
    )
    return told(taken, now, JobState.PREPARING)


def ended(job: LabelJob, now: datetime, state: JobState, failure: Failure | None = None) -> Step:
    """The job in its final state; an error is told before the state that it leads to."""
    final = dataclasses.replace(job, lease_until=None, end_time=now, error=failure)
    return told(final, now, *([failure] if failure else []), state)


def put_back(job: LabelJob, now: datetime, *, wait_seconds: float, counts: bool) -> Step:
    """The job in the queue again, for whoever comes; not before `wait_seconds`. `counts` says it was an
    attempt.
    """
    if job.state is JobState.CANCELLING:
        return ended(job, now, JobState.CANCELLED)
    back = dataclasses.replace(
        job,
        attempts=job.attempts - (0 if counts else 1),
        lease_until=now + timedelta(seconds=wait_seconds) if wait_seconds else None,
    )
    return told(back, now, JobState.QUEUED)


def cancelled(job: LabelJob, now: datetime) -> Step:
    """The job after its owner asked for its end; FailedPrecondition when it has ended otherwise."""
    if job.state in {JobState.CANCELLED, JobState.CANCELLING}:
        return job, []
    if job.state.is_final:
        raise FailedPrecondition(
            f"{job.key.name} has ended already: {job.state.value}",
            reason="JOB_ENDED",
            metadata={"resource_name": job.key.name, "state": job.state.name},
        )
    if job.state is JobState.QUEUED:
        return ended(job, now, JobState.CANCELLED)
    return told(job, now, JobState.CANCELLING)


def advanced(
    job: LabelJob, now: datetime, labeled: Sequence[LabeledImage], remaining: int, images_per_second: float
) -> Step:
    """The job after a batch; `remaining` pictures are still to do."""
    failed = sum(1 for one in labeled if one.failure is not None)
    done = job.progress.done + len(labeled) - failed
    failed += job.progress.failed
    progress = LabelProgress(
        done=done,
        total=done + failed + remaining,
        failed=failed,
        images_per_second=images_per_second,
        seconds_left=remaining / images_per_second if images_per_second > 0 else None,
    )
    return told(dataclasses.replace(job, progress=progress), now, *labeled, progress)
