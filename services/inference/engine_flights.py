"""Jobs on their way through the engine: what it says of each, until its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass, field
from typing import Any

from servicekit import errors
from services.inference.domain_jobs import Preview, Progress
from services.inference.engine_messages import Failure

FAULT_RETRY_SECONDS = 0.5
"""After a fault that may not come again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job's events, and the error to raise if it is no good one."""

    error: errors.ServiceError | None = None


class Mailbox:
    """Events for one reader, in their order. Of progress, and of one picture's previews, only the last is
    kept for a reader that is slow to come: what waits is never much more than a job's results.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Any] = {}
        self._filled = asyncio.Event()

    def put(self, event: object) -> None:
        """Add an event; it takes the place of what it makes obsolete."""
        key = _same_as(event)
        self._waiting.pop(key, None)
        self._waiting[key] = event
        self._filled.set()

    async def get(self) -> Any:
        """The event that has waited longest."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.pop(next(iter(self._waiting)))


def _same_as(event: object) -> Hashable:
    match event:
        case Progress():
            return Progress
        case Preview():
            return Preview, event.index
    return object()


@dataclass(slots=True)
class Flights:
    """The jobs in flight, of pictures and of texts."""

    _mailboxes: dict[str, Mailbox] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._mailboxes)

    def begin(self, job_id: str) -> None:
        """A job is about to be sent."""
        self._mailboxes[job_id] = Mailbox()

    async def events(self, job_id: str) -> AsyncIterator[Any]:
        """What the engine says of a job, up to its end; raises the error that ended it."""
        mailbox = self._mailboxes[job_id]
        while not isinstance(event := await mailbox.get(), Ended):
            yield event
        self.forget(job_id)
        if event.error is not None:
            raise event.error

    def forget(self, job_id: str) -> bool:
        """Whether it was still in flight."""
        return self._mailboxes.pop(job_id, None) is not None

    def deliver(self, job_id: str, event: object) -> None:
        """An event or an Ended; a job that was cancelled a moment ago may still be spoken of."""
        mailbox = self._mailboxes.get(job_id)
        if mailbox is not None:
            mailbox.put(event)

    def fail_all(self, error: errors.ServiceError) -> None:
        """The engine is gone."""
        for mailbox in self._mailboxes.values():
            mailbox.put(Ended(error))


def error_of(failure: Failure) -> errors.ServiceError:
    """The service's error for a failure that the engine tells of."""
    kind = getattr(errors, failure.kind, errors.Internal)
    if kind is errors.InvalidArgument:
        violation = errors.FieldViolation(failure.field, failure.message)
        return errors.InvalidArgument([violation], reason=failure.reason, metadata=failure.metadata)
    if not (isinstance(kind, type) and issubclass(kind, errors.ServiceError)):
        kind = errors.Internal
    if kind is errors.Unavailable:
        return errors.Unavailable(
            failure.message,
            reason=failure.reason,
            metadata=failure.metadata,
            retry_after_seconds=FAULT_RETRY_SECONDS,
        )
    return kind(failure.message, reason=failure.reason, metadata=failure.metadata)
