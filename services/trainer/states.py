"""The states of a job as an explicit table.

QUEUED -> PREPARING -> RUNNING -> SUCCEEDED
   |          |           |----> FAILED ----> QUEUED      (resumed)
   |          |           |----> CANCELLING -> CANCELLED -> QUEUED (resumed)
   |          |           |----> PREEMPTED -> QUEUED      (given back)
   |          |           `----> QUEUED                   (its worker was lost: tried again)
   `-> CANCELLED
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.trainer.events import JobState

TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.PREPARING, JobState.CANCELLED}),
        # SUCCEEDED straight away: an earlier attempt had registered the version and died before it could say
        # so.
        JobState.PREPARING: frozenset(
            {
                JobState.RUNNING,
                JobState.SUCCEEDED,
                JobState.FAILED,
                JobState.CANCELLING,
                JobState.PREEMPTED,
                JobState.QUEUED,
            }
        ),
        JobState.RUNNING: frozenset(
            {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLING, JobState.PREEMPTED, JobState.QUEUED}
        ),
        # SUCCEEDED: the cancellation came after the version was registered.
        JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED}),
        JobState.PREEMPTED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
        JobState.FAILED: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset({JobState.QUEUED}),
        JobState.SUCCEEDED: frozenset(),
    }
)

ENDED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
LEASED: Final = frozenset({JobState.PREPARING, JobState.RUNNING, JobState.CANCELLING})
LEASED_VALUES: Final = tuple(sorted(state.value for state in LEASED))
"""As tables have them."""


def may_move(state: JobState, following: JobState) -> bool:
    """Whether the table has that step."""
    return following in TRANSITIONS[state]
