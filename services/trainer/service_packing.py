"""Use cases of the packer: who makes way for whom, where jobs stand, what fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from servicekit.clock import Clock
from servicekit.errors import FieldViolation
from services.trainer.events import JobState
from services.trainer.leasing import QueueRules, Wish
from services.trainer.memory_figures import BaseMemory, shortage
from services.trainer.placement import HORIZON, placements
from services.trainer.ports import Bell, JobReader, JobRecord, Jobs
from services.trainer.preemption import who_makes_way
from services.trainer.spec import TrainingSpec
from services.trainer.states import LEASED

_SILENT: Final = timedelta(days=1)
"""Workers that were not heard of for so long are forgotten."""
_PLACED: Final = LEASED | {JobState.QUEUED}


class PackingService:
    """The packer, beside the leases themselves."""

    def __init__(
        self, jobs: Jobs, bell: Bell, clock: Clock, rules: QueueRules, *, seen_within: timedelta
    ) -> None:
        """`seen_within`: workers that were heard of since then count as there."""
        self._jobs = jobs
        self._bell = bell
        self._clock = clock
        self._rules = rules
        self._seen_within = seen_within

    async def make_way(self) -> int:
        """Tells jobs to leave for others, where that is due; returns how many."""
        now = self._clock.now()
        async with self._jobs.snapshot() as reader:
            if not (await reader.packing.queue(now, self._rules, Wish(max_jobs=1))).waiting:
                return 0
        async with self._jobs.transaction() as transaction:
            packing = transaction.packing
            queue = await packing.queue(now, self._rules, Wish(max_jobs=1))
            seats = await packing.seats(now - self._seen_within)
            running = await packing.running()
            memories = await packing.memories(sorted({job.pack_key.base_sha256 for job in running}))
            way = who_makes_way(queue, running, seats, memories)
            # Whoever holds the candidate's row decides; another replica does not decide the same again.
            if way is None or not await transaction.lock_queued([way.candidate.name]):
                return 0
            told = []
            for victim in sorted(way.victims, key=lambda job: job.name):
                job = await transaction.lock(victim.name)
                if job is not None and job.make_way(way.why, now):
                    await transaction.save(job)
                    told.append(job)
            await packing.serve(way.served, now)
        for job in told:
            self._bell.ring(job.name)
        return len(told)

    async def put_memory(self, memory: BaseMemory) -> None:
        """Keeps what a worker has measured."""
        async with self._jobs.transaction() as transaction:
            await transaction.packing.put_memory(memory, self._clock.now())

    async def forget(self) -> None:
        """Drops what is long out of date."""
        now = self._clock.now()
        async with self._jobs.transaction() as transaction:
            await transaction.packing.forget(now, now - _SILENT)

    async def too_large(self, spec: TrainingSpec, base_sha256: str, prefix: str) -> list[FieldViolation]:
        """The field that makes the job too large for the device of every worker that is there.

        A worker that has not measured the base yet may be one that it fits, and so may one that is to come
        while there is none.
        """
        async with self._jobs.snapshot() as reader:
            seats = await reader.packing.seats(self._clock.now() - self._seen_within)
            found = await reader.packing.memories([base_sha256])
        memories = [memory for memory in found if memory.precision is spec.precision]
        devices = {seat.device for seat in seats}
        if not devices or not devices <= {memory.device for memory in memories}:
            return []
        lack = shortage(spec, [memory for memory in memories if memory.device in devices])
        return [] if lack is None else [FieldViolation(f"{prefix}.{lack[0]}", f"does not fit: {lack[1]}")]

    async def placed(self, reader: JobReader, records: Sequence[JobRecord]) -> list[JobRecord]:
        """The records, those of jobs that have not ended with where they stand."""
        if not any(record.job.state in _PLACED for record in records):
            return list(records)
        now: datetime = self._clock.now()
        packing = reader.packing
        queue = await packing.queue(now, self._rules, None)
        near = list(islice(queue.in_order(), HORIZON))
        specs = await packing.specs([candidate.name for candidate in near])
        running = await packing.running()
        bases = {one.pack_key.base_sha256 for one in near} | {job.pack_key.base_sha256 for job in running}
        found = placements(
            replace(queue, waiting=[replace(one, spec=specs.get(one.name)) for one in queue.waiting]),
            running,
            await packing.seats(now - self._seen_within),
            await packing.memories(sorted(bases)),
        )
        return [replace(record, placement=found.get(record.job.name)) for record in records]
