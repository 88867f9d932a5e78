"""Use cases of the workers: lease jobs, keep the leases alive, report, complete; and what happens when they
do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from servicekit.clock import Clock
from servicekit.errors import InvalidArgument
from services.trainer.domain import Job, lease_lost
from services.trainer.events import Failure, JobState, MetricPoint, Payload
from services.trainer.leasing import SUSPECT_FAILURES, Queue, QueueRules, Wish, choose
from services.trainer.ports import Bell, Jobs, JobTransaction, Meters
from services.trainer.preemption import Seat
from services.trainer.retries import RetryPolicy
from services.trainer.room import Room


class Instruction(StrEnum):
    """What a worker is to do with a job that it holds."""

    CONTINUE = "continue"
    CANCEL = "cancel"
    ABANDON = "abandon"
    PREEMPT = "preempt"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as its holder names it."""

    job: str
    token: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a worker has to say about one job, in order."""

    held: Held
    payloads: Sequence[Payload]
    points: Sequence[MetricPoint] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """How a worker's work on a job ended: SUCCEEDED, FAILED, CANCELLED, or PREEMPTED, which gives it back."""

    held: Held
    state: JobState
    lora_version: str = ""
    failure: Failure | None = None
    retryable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseRules:
    """For how long a silent worker is believed, and how long jobs wait."""

    timeout: timedelta = timedelta(seconds=30)
    queue: QueueRules = field(default_factory=QueueRules)


class WorkerService:
    """Leases and all that workers say."""

    def __init__(
        self, jobs: Jobs, bell: Bell, meters: Meters, clock: Clock, rules: LeaseRules, retries: RetryPolicy
    ) -> None:
        self._jobs = jobs
        self._bell = bell
        self._meters = meters
        self._clock = clock
        self._rules = rules
        self._retries = retries

    @property
    def lease_timeout(self) -> timedelta:
        """For how long a lease holds without a heartbeat."""
        return self._rules.timeout

    async def lease(self, seat: Seat, wish: Wish) -> list[Job]:
        """Jobs that can train on one resident base, now the worker's; empty when there is nothing to do."""
        now = self._clock.now()
        async with self._jobs.transaction() as transaction:
            await transaction.packing.see(seat, now)
            held = await transaction.lock_held_by(seat.worker)
            if any(job.failures >= SUSPECT_FAILURES for job in held):
                return []  # it trains a job that has to be alone
            if any(job.makes_way for job in held):
                return []  # the place is another's
            queue = await transaction.packing.queue(now, self._rules.queue, wish)
            room = await _room(transaction, seat, held, queue)
            chosen = choose(queue, wish, room=room)
            jobs = await transaction.lock_queued([candidate.name for candidate in chosen])
            await transaction.packing.serve([job.brand for job in jobs], now)
            others = len(held) + len(jobs) - 1
            for job in jobs:
                job.lease_to(seat.worker, now, self._rules.timeout)
                job.tell(_beside(others), now)
                await transaction.save(job)
        self._ring(jobs)
        return jobs

    async def heartbeat(self, worker: str, leases: Sequence[Held]) -> list[tuple[Held, Instruction]]:
        """Renews the leases; tells for each what to do with the job."""
        async with self._jobs.transaction() as transaction:
            now = self._clock.now()
            await transaction.packing.see_again(worker, now)
            answers: list[tuple[Held, Instruction]] = []
            for held in sorted(leases, key=lambda held: held.job):  # one order for all: no deadlocks
                job = await transaction.lock(held.job)
                if job is None or not job.holds(held.token):
                    answers.append((held, Instruction.ABANDON))
                    continue
                job.renew(now, self._rules.timeout)
                await transaction.save(job)
                answers.append((held, _instruction(job)))
        return answers

    async def report(self, report: Report) -> Instruction:
        """Takes a lease holder's word and tells how to go on; Aborted with LEASE_LOST for an old token."""
        async with self._jobs.transaction() as transaction:
            job = await transaction.lock(report.held.job)
            if job is None:
                raise lease_lost(report.held.job, report.held.token)
            job.require_lease(report.held.token)
            now = self._clock.now()
            for payload in report.payloads:
                job.report(payload, now)
            job.renew(now, self._rules.timeout)
            await transaction.put_points(job.name, report.points)
            await transaction.save(job)
        rows = job.spec.optimization.batch_size + job.spec.prior_preservation.batch_size
        self._meters.trained(len(report.points) * rows)
        self._ring([job])
        return _instruction(job)

    async def complete(self, completion: Completion) -> None:
        """Ends the worker's work on a job. Said twice with one token, the second changes nothing."""
        held = completion.held
        async with self._jobs.transaction() as transaction:
            job = await transaction.lock(held.job)
            if job is None:
                raise lease_lost(held.job, held.token)
            if job.completed_token == held.token:
                return
            self._complete(job, completion)
            await transaction.save(job)
        self._count_end(job)
        self._ring([job])

    async def release(self, worker: str, why: str, *, blameless: bool = False) -> int:
        """Takes all jobs from a worker that is known to be gone; returns how many."""
        async with self._jobs.transaction() as transaction:
            jobs = await transaction.lock_held_by(worker)
            for job in jobs:
                job.lose_lease(why, self._clock.now(), self._retries, blameless=blameless)
                await transaction.save(job)
        self._count_losses(jobs)
        return len(jobs)

    async def reap(self) -> int:
        """Takes the jobs whose worker has been silent for too long; returns how many."""
        async with self._jobs.transaction() as transaction:
            now = self._clock.now()
            jobs = await transaction.lock_expired(now)
            for job in jobs:
                worker = job.lease.worker if job.lease else "its worker"
                silence = f"{self._rules.timeout.total_seconds():g} s"
                job.lose_lease(f"worker {worker} was not heard of for {silence}", now, self._retries)
                await transaction.save(job)
        self._count_losses(jobs)
        return len(jobs)

    async def lease_holders(self, prefix: str) -> set[str]:
        """Workers with that prefix to their name that hold leases."""
        async with self._jobs.snapshot() as reader:
            return await reader.lease_holders(prefix)

    async def measure(self) -> None:
        """Tells the meters about the queue."""
        async with self._jobs.snapshot() as reader:
            self._meters.queue(await reader.figures())

    def _complete(self, job: Job, completion: Completion) -> None:
        token, now = completion.held.token, self._clock.now()
        match completion.state:
            case JobState.SUCCEEDED:
                if not completion.lora_version:
                    raise InvalidArgument.of("lora_version", "is required for a job that has succeeded")
                job.succeed(token, completion.lora_version, now)
            case JobState.FAILED:
                failure = completion.failure or Failure("UNKNOWN", "the worker gave no reason")
                job.fail(token, failure, now, self._retries, retryable=completion.retryable)
            case JobState.CANCELLED:
                job.stop(token, now)
            case JobState.PREEMPTED:
                job.give_back(token, now)
            case _:
                raise InvalidArgument.of("state", f"{completion.state.name} is no end of a worker's work")

    def _count_losses(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self._meters.leases_lost(len(jobs))
        for job in jobs:
            self._count_end(job)
        self._ring(jobs)

    def _count_end(self, job: Job) -> None:
        if job.state is not JobState.QUEUED:
            self._meters.ended(job.state.value)
        elif job.failures:
            self._meters.retried(1)

    def _ring(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._bell.ring(job.name)


def _instruction(job: Job) -> Instruction:
    if job.state is JobState.CANCELLING:
        return Instruction.CANCEL
    return Instruction.PREEMPT if job.makes_way else Instruction.CONTINUE


async def _room(transaction: JobTransaction, seat: Seat, held: Sequence[Job], queue: Queue) -> Room:
    """What is left of the worker's device beside the jobs that it has."""
    bases = {candidate.pack_key.base_sha256 for candidate in queue.waiting}
    memories = await transaction.packing.memories(sorted(bases))
    return Room(seat.device, memories, ((job.pack_key.base_sha256, job.spec) for job in held))


def _beside(others: int) -> str:
    return f"packed with {others} other job{'' if others == 1 else 's'}" if others else "alone in its pack"
