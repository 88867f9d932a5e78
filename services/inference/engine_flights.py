"""Jobs on their way through the engine: what it says of each, until its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from servicekit import errors
from services.inference.engine_messages import Failure

FAULT_RETRY_SECONDS = 0.5
"""After a fault that may not come again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job's events, and the error to raise if it is no good one."""

    error: errors.ServiceError | None = None


@dataclass(slots=True)
class Flights:
    """The jobs in flight. Events are those of pictures or of texts; nobody here looks into them."""

    _queues: dict[str, asyncio.Queue[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._queues)

    def begin(self, job_id: str) -> None:
        """A job is about to be sent."""
        self._queues[job_id] = asyncio.Queue()

    async def events(self, job_id: str) -> AsyncIterator[Any]:
        """What the engine says of a job, up to its end; raises the error that ended it."""
        events = self._queues[job_id]
        while not isinstance(event := await events.get(), Ended):
            yield event
        self.forget(job_id)
        if event.error is not None:
            raise event.error

    def forget(self, job_id: str) -> bool:
        """Whether it was still in flight."""
        return self._queues.pop(job_id, None) is not None

    def deliver(self, job_id: str, event: object) -> None:
        """An event or an Ended; a job that was cancelled a moment ago may still be spoken of."""
        events = self._queues.get(job_id)
        if events is not None:
            events.put_nowait(event)

    def fail_all(self, error: errors.ServiceError) -> None:
        """The engine is gone."""
        for events in self._queues.values():
            events.put_nowait(Ended(error))


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
