"""What callers who do not administer are spared: where base models lie on the services' hosts."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Final

from services.trainer.events import Event, Failure, Notice, Payload
from services.trainer.ports import JobRecord

_BASE_REASONS: Final = "BASE_"
"""How the reasons of failures begin that tell where a base model lies."""
_TEXT: Final = "the base model of the job cannot be used; administrators are told why"


def job_for_guests(record: JobRecord) -> JobRecord:
    """The job, with its error in general words where that names a place."""
    error = record.job.error
    if error is None or not error.reason.startswith(_BASE_REASONS):
        return record
    job = copy(record.job)
    job.error = Failure(error.reason, _TEXT)
    return replace(record, job=job)


def event_for_guests(event: Event) -> Event:
    """The event, likewise."""
    payload: Payload = event.payload
    if isinstance(payload, Failure) and payload.reason.startswith(_BASE_REASONS):
        return replace(event, payload=Failure(payload.reason, _TEXT))
    if isinstance(payload, Notice) and payload.reason.startswith(_BASE_REASONS):
        return replace(event, payload=Notice(_TEXT, payload.reason))
    return event
