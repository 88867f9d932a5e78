from __future__ import annotations

from datetime import timedelta

import pytest

from servicekit.errors import Aborted, FailedPrecondition
from services.trainer.domain import Checkpoint, Job
from services.trainer.events import ArtifactKind, Failure, JobArtifact, JobState, Notice, Progress
from services.trainer.retries import RetryPolicy
from services.trainer.sources import Blob
from tests.fixtures.trainer_jobs import NOW, job

MINUTE = timedelta(minutes=1)
POLICY = RetryPolicy(max_retries=3, first_wait_seconds=2.0, longest_wait_seconds=5.0)


def leased(worker: str = "w1") -> Job:
    made = job()
    made.lease_to(worker, NOW, MINUTE)
    return made


def states(made: Job) -> list[JobState]:
    return [event.payload for event in made.new_events if isinstance(event.payload, JobState)]


def checkpoint(step: int) -> JobArtifact:
    return JobArtifact(
        kind=ArtifactKind.CHECKPOINT,
        file_name=f"checkpoint-{step}",
        blob=Blob("e" * 64, 10),
        media_type="application/octet-stream",
        step=step,
    )


def test_events_are_numbered_from_one_without_gaps() -> None:
    made = leased()
    made.report(JobState.RUNNING, NOW)
    made.report(Notice("hello"), NOW)
    made.succeed(made.fencing_token, "brands/acme/loras/hero/versions/1", NOW)
    assert [event.sequence for event in made.new_events] == list(range(1, made.last_sequence + 1))
    assert states(made) == [JobState.QUEUED, JobState.PREPARING, JobState.RUNNING, JobState.SUCCEEDED]


def test_each_lease_has_a_larger_token_and_the_old_one_is_void() -> None:
    made = leased()
    old = made.fencing_token
    made.lose_lease("gone", NOW, POLICY)
    made.lease_to("w2", NOW, MINUTE)
    assert made.fencing_token > old
    with pytest.raises(Aborted) as caught:
        made.require_lease(old)
    assert caught.value.reason == "LEASE_LOST"
    made.require_lease(made.fencing_token)


def test_a_job_whose_workers_die_is_tried_again_and_then_fails_with_the_reason() -> None:
    made = job()
    waits = []
    for attempt in range(1, 5):
        made.lease_to(f"w{attempt}", NOW, MINUTE)
        made.lose_lease("the worker was killed by signal 9", NOW, POLICY)
        waits.append((made.not_before - NOW).total_seconds())
    assert made.state is JobState.FAILED
    assert made.attempt == 4
    assert made.error is not None
    assert made.error.reason == "WORKER_LOST"
    assert "signal 9" in made.error.message
    assert waits[:3] == [2.0, 4.0, 5.0]
    assert made.end_time == NOW


def test_a_retry_goes_on_from_the_newest_checkpoint() -> None:
    made = leased()
    made.report(checkpoint(100), NOW)
    made.report(checkpoint(200), NOW)
    made.lose_lease("gone", NOW, POLICY)
    assert made.state is JobState.QUEUED
    assert made.checkpoint == Checkpoint(Blob("e" * 64, 10), 200)
    notices = [event.payload.text for event in made.new_events if isinstance(event.payload, Notice)]
    assert notices == ["gone; try 1 of 3 follows, from step 200"]


def test_a_failure_that_would_happen_again_is_not_retried() -> None:
    made = leased()
    made.fail(made.fencing_token, Failure("LOSS_NOT_FINITE", "step 3"), NOW, POLICY, retryable=False)
    assert made.state is JobState.FAILED
    assert made.error == Failure("LOSS_NOT_FINITE", "step 3")


def test_a_job_given_back_has_not_failed() -> None:
    made = leased()
    made.give_back(made.fencing_token, NOW)
    assert made.state is JobState.QUEUED
    assert made.failures == 0
    assert made.not_before == NOW
    assert states(made)[-2:] == [JobState.PREEMPTED, JobState.QUEUED]


def test_cancelling_a_queued_job_ends_it_at_once() -> None:
    made = job()
    made.cancel(NOW)
    assert made.state is JobState.CANCELLED
    assert made.end_time == NOW


@pytest.mark.parametrize("end", ["stop", "lose", "give back", "fail"])
def test_a_job_being_cancelled_is_cancelled_however_its_worker_ends(end: str) -> None:
    made = leased()
    made.cancel(NOW)
    made.cancel(NOW)
    assert made.state is JobState.CANCELLING
    token = made.fencing_token
    if end == "stop":
        made.stop(token, NOW)
    elif end == "lose":
        made.lose_lease("gone", NOW, POLICY)
    elif end == "give back":
        made.give_back(token, NOW)
    else:
        made.fail(token, Failure("X", "x"), NOW, POLICY, retryable=True)
    assert made.state is JobState.CANCELLED
    assert made.lease is None


def test_a_cancellation_that_came_too_late_is_a_success() -> None:
    made = leased()
    made.report(JobState.RUNNING, NOW)
    made.cancel(NOW)
    made.report(JobState.RUNNING, NOW)
    assert made.state is JobState.CANCELLING
    made.succeed(made.fencing_token, "brands/acme/loras/hero/versions/1", NOW)
    assert made.state is JobState.SUCCEEDED


def test_resuming_gives_all_attempts_back_and_keeps_the_checkpoint() -> None:
    made = leased()
    made.report(checkpoint(100), NOW)
    made.fail(made.fencing_token, Failure("X", "x"), NOW, POLICY, retryable=False)
    made.resume(NOW)
    assert made.state is JobState.QUEUED
    assert (made.failures, made.error, made.end_time) == (0, None, None)
    assert made.checkpoint is not None


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_only_failed_and_cancelled_jobs_resume(state: str) -> None:
    made = job()
    if state != "queued":
        made.lease_to("w1", NOW, MINUTE)
        made.report(JobState.RUNNING, NOW)
    if state == "succeeded":
        made.succeed(made.fencing_token, "v", NOW)
    with pytest.raises(FailedPrecondition) as caught:
        made.resume(NOW)
    assert caught.value.metadata["state"] == state.upper()


def test_a_finished_job_cannot_be_cancelled() -> None:
    made = leased()
    made.succeed(made.fencing_token, "v", NOW)
    with pytest.raises(FailedPrecondition):
        made.cancel(NOW)


def test_progress_is_kept_and_recorded() -> None:
    made = leased()
    progress = Progress(
        step=1,
        total_steps=2,
        epoch=1,
        loss=0.5,
        smoothed_loss=0.5,
        learning_rate=1e-4,
        images_per_second=3.0,
        seconds_left=None,
        pack_size=1,
    )
    before = made.etag
    made.report(progress, NOW)
    assert made.progress == progress
    assert made.etag != before
