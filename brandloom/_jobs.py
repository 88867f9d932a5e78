"""What all jobs have in common: one can watch them, and wait for their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from brandloom._watch import follow
from brandloom.errors import JobFailed
from brandloom.types.common import JobState
from brandloom.types.events import LabelEvent, TrainingEvent, is_last_event
from brandloom.types.labeler import LabelJob
from brandloom.types.training import TrainingJob

E = TypeVar("E", bound=TrainingEvent | LabelEvent)
J = TypeVar("J", TrainingJob, LabelJob)


def job_events(
    connect: Callable[[int], AsyncIterator[Any]],
    read: Callable[[Any], E | None],
    get: Callable[[], Awaitable[TrainingJob | LabelJob]],
    *,
    after_sequence: int,
) -> AsyncIterator[E]:
    """The job's events after a number, then live until it ends; over broken connections without a gap.

    `connect` opens a stream of the messages after a number, `read` makes an event of one, or None of a kind
    that this client does not know yet, `get` asks for the job.
    """

    async def events(after: int) -> AsyncIterator[E]:
        async for message in connect(after):
            event = read(message)
            if event is not None:
                yield event

    async def ended() -> bool:
        return (await get()).state.ended

    return follow(events, after_sequence=after_sequence, ended=ended, is_end=is_last_event)


async def succeeded(events: AsyncIterator[object], get: Callable[[], Awaitable[J]]) -> J:
    """The job once its events are over; JobFailed when it failed or was cancelled."""
    async for _ in events:
        pass
    last = await get()
    if last.state is not JobState.SUCCEEDED:
        raise JobFailed(last)
    return last
