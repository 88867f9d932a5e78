from __future__ import annotations

import pytest

from services.trainer.events import JobState
from services.trainer.states import ENDED, LEASED, TRANSITIONS, may_move


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_success_is_final() -> None:
    assert TRANSITIONS[JobState.SUCCEEDED] == frozenset()


@pytest.mark.parametrize("state", sorted(ENDED - {JobState.SUCCEEDED}))
def test_other_ends_lead_back_to_the_queue_only(state: JobState) -> None:
    assert TRANSITIONS[state] == {JobState.QUEUED}


def test_every_state_can_be_reached_from_the_queue() -> None:
    reached = {JobState.QUEUED}
    while more := {state for source in reached for state in TRANSITIONS[source]} - reached:
        reached |= more
    assert reached == set(JobState)


@pytest.mark.parametrize("state", sorted(LEASED))
def test_a_leased_job_always_has_a_way_out_without_its_worker(state: JobState) -> None:
    assert may_move(state, JobState.QUEUED) or may_move(state, JobState.CANCELLED)


def test_a_job_that_ended_is_not_leased() -> None:
    assert not ENDED & LEASED
