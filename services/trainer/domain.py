"""A training job: its states, its lease, its attempts. Every change is recorded as a numbered event."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from servicekit.errors import Aborted, FailedPrecondition
from services.trainer.advice import Advice
from services.trainer.events import (
    ArtifactKind,
    Event,
    Failure,
    JobArtifact,
    JobState,
    Notice,
    Payload,
    Progress,
    VersionRegistered,
)
from services.trainer.leasing import PackKey
from services.trainer.retries import RetryPolicy
from services.trainer.sources import Blob, Sources
from services.trainer.spec import TrainingSpec
from services.trainer.states import ENDED, LEASED, may_move

WORKER_LOST: Final = "WORKER_LOST"


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a job, and until when that is believed without another word."""

    worker: str
    since: datetime
    """When the worker took it; once it trains, when it began to."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state from which a job can go on."""

    blob: Blob
    step: int


@dataclass(kw_only=True, slots=True)
class Job:
    """One training job. Methods change it and record events; a repository stores both."""

    name: str
    brand: str
    display_name: str
    creator: str
    spec: TrainingSpec
    sources: Sources
    total_steps: int
    advice: tuple[Advice, ...]
    priority: int
    registration_id: str
    create_time: datetime
    state: JobState = JobState.QUEUED
    attempt: int = 0
    failures: int = 0
    line_time: datetime
    """Its place in the line: when it was created or resumed, or when it last made way for another."""
    not_before: datetime
    makes_way: bool = False
    """Whether its worker is to leave it with a checkpoint, for another job's sake."""
    progress: Progress | None = None
    error: Failure | None = None
    lora_version: str = ""
    lease: Lease | None = None
    fencing_token: int = 0
    completed_token: int = 0
    checkpoint: Checkpoint | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    last_sequence: int = 0
    new_events: list[Event] = field(default_factory=list)

    @property
    def pack_key(self) -> PackKey:
        """Jobs of one key can train on one resident base."""
        return PackKey(self.sources.base.sha256, self.spec.resolution, self.spec.precision)

    @property
    def etag(self) -> str:
        """Changes whenever the job does: everything that happens to it is an event."""
        return f'"{self.last_sequence}"'

    def begin(self, now: datetime) -> None:
        """Records that the job exists."""
        self._record(self.state, now)

    def lease_to(self, worker: str, now: datetime, timeout: timedelta) -> None:
        """Hands the queued job to a worker under a new fencing token."""
        self._move(JobState.PREPARING, now)
        self.fencing_token += 1
        self.attempt += 1
        self.lease = Lease(worker, now, now + timeout)
        self.makes_way = False
        self.start_time = self.start_time or now
        self.error = None

    def holds(self, token: int) -> bool:
        """Whether the token is that of the current lease."""
        return self.lease is not None and self.fencing_token == token and self.state in LEASED

    def require_lease(self, token: int) -> None:
        """Aborted with LEASE_LOST unless the token is that of the current lease."""
        if not self.holds(token):
            raise lease_lost(self.name, token)

    def renew(self, now: datetime, timeout: timedelta) -> None:
        """Believes the worker for another while."""
        if self.lease is not None:
            self.lease = replace(self.lease, expires_at=now + timeout)

    def report(self, payload: Payload, now: datetime) -> None:
        """Takes the lease holder's word on state, progress, files and notices."""
        if isinstance(payload, JobState):
            # A job that is being cancelled is not running again because its worker has not heard of it yet.
            if self.state not in {payload, JobState.CANCELLING}:
                self._move(payload, now)
                if self.lease is not None and payload is JobState.RUNNING:
                    self.lease = replace(self.lease, since=now)
            return
        if isinstance(payload, Progress):
            self.progress = payload
        if isinstance(payload, VersionRegistered):
            self.lora_version = payload.lora_version
        if isinstance(payload, JobArtifact) and payload.kind is ArtifactKind.CHECKPOINT:
            self.checkpoint = Checkpoint(payload.blob, payload.step)
        self._record(payload, now)

    def succeed(self, token: int, lora_version: str, now: datetime) -> None:
        """Ends the job with the version that its worker has registered."""
        self.require_lease(token)
        if self.lora_version != lora_version:
            self.report(VersionRegistered(lora_version), now)
        self._end(JobState.SUCCEEDED, now)

    def fail(
        self, token: int, failure: Failure, now: datetime, policy: RetryPolicy, *, retryable: bool
    ) -> None:
        """Takes the lease holder's word that this attempt failed."""
        self.require_lease(token)
        self._give_up_attempt(failure, now, policy, retryable=retryable)
        self.completed_token = token

    def stop(self, token: int, now: datetime) -> None:
        """Ends a job that was being cancelled."""
        self.require_lease(token)
        self._end(JobState.CANCELLED, now)

    def make_way(self, why: str, now: datetime) -> bool:
        """Asks the worker to leave the job with a checkpoint; False if it leaves anyway, or nobody has it."""
        if self.makes_way or self.state not in LEASED or self.state is JobState.CANCELLING:
            return False
        self.makes_way = True
        self._record(Notice(f"{why}; it goes on when a place is free"), now)
        return True

    def tell(self, text: str, now: datetime) -> None:
        """Records something worth knowing."""
        self._record(Notice(text), now)

    def give_back(self, token: int, now: datetime) -> None:
        """Puts the job back in the queue; this is no failed attempt."""
        self.require_lease(token)
        self.completed_token = token
        self._give_back(now)

    def lose_lease(self, why: str, now: datetime, policy: RetryPolicy, *, blameless: bool = False) -> None:
        """The worker is gone. Its token is void from now on; `blameless` where it was stopped on purpose."""
        self.fencing_token += 1
        if blameless:
            self._give_back(now)
        else:
            self._give_up_attempt(Failure(WORKER_LOST, why), now, policy, retryable=True)

    def cancel(self, now: datetime) -> None:
        """Ends a waiting job at once and asks the worker of another to stop; FailedPrecondition when it has
        ended."""
        if self.state is JobState.CANCELLING:
            return
        if self.state in LEASED:
            self._move(JobState.CANCELLING, now)
        else:
            self._move(JobState.CANCELLED, now)
            self.end_time = now

    def resume(self, now: datetime) -> None:
        """Queues a failed or cancelled job again, from its last checkpoint and with all attempts ahead
        of it.
        """
        if self.state not in {JobState.FAILED, JobState.CANCELLED}:
            raise _wrong_state(self, "only failed and cancelled jobs can be resumed")
        self._queue(now)
        self.line_time = now
        self.failures = 0
        self.error = None
        self.end_time = None

    def give_up_checkpoint(self, ended_before: datetime) -> None:
        """Forgets the checkpoint of a job that has succeeded, or that ended before that time: should it be
        resumed, it begins again."""
        late = self.end_time is not None and self.end_time < ended_before
        if self.state is JobState.SUCCEEDED or (self.state in ENDED and late):
            self.checkpoint = None

    def _give_back(self, now: datetime) -> None:
        if self.state is JobState.CANCELLING:
            self._end(JobState.CANCELLED, now)
            return
        self._move(JobState.PREEMPTED, now)
        if self.makes_way:
            self.line_time = now
        self._queue(now)

    def _give_up_attempt(
        self, failure: Failure, now: datetime, policy: RetryPolicy, *, retryable: bool
    ) -> None:
        if self.state is JobState.CANCELLING:
            self._end(JobState.CANCELLED, now)
            return
        self.failures += 1
        if retryable and self.failures <= policy.max_retries:
            goes_on = f"step {self.checkpoint.step}" if self.checkpoint else "the beginning"
            text = f"{failure.message}; try {self.failures} of {policy.max_retries} follows, from {goes_on}"
            self._record(Notice(text, failure.reason), now)
            self._queue(now, policy.wait(self.failures))
            return
        if retryable:
            failure = Failure(failure.reason, f"{failure.message}; gave up after {self.failures} attempts")
        self.error = failure
        self._record(failure, now)
        self._end(JobState.FAILED, now)

    def _queue(self, now: datetime, wait: timedelta = timedelta(0)) -> None:
        self._move(JobState.QUEUED, now)
        self.lease = None
        self.makes_way = False
        self.not_before = now + wait

    def _end(self, state: JobState, now: datetime) -> None:
        self._move(state, now)
        self.completed_token = self.fencing_token
        self.lease = None
        self.end_time = now

    def _move(self, state: JobState, now: datetime) -> None:
        if not may_move(self.state, state):
            raise _wrong_state(self, f"cannot become {state.name}")
        self.state = state
        self._record(state, now)

    def _record(self, payload: Payload, now: datetime) -> None:
        self.last_sequence += 1
        self.new_events.append(Event(self.last_sequence, now, payload))


def lease_lost(job: str, token: int) -> Aborted:
    """The error for words with an old fencing token."""
    return Aborted(
        f"{job} is no longer leased under token {token}",
        reason="LEASE_LOST",
        metadata={"job": job, "fencing_token": str(token)},
    )


def has_ended(state: JobState) -> bool:
    """Whether nothing more happens to the job unless it is resumed."""
    return state in ENDED


def _wrong_state(job: Job, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{job.name} is {job.state.name}: {why}",
        reason="WRONG_JOB_STATE",
        metadata={"job": job.name, "state": job.state.name},
    )
