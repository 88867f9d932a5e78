"""The packer over a real SQLite: turns, priorities, bounded waits, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from servicekit.errors import InvalidArgument
from servicekit.identity import Principal, set_principal
from services.trainer.events import JobState
from services.trainer.leasing import PackKey, QueueRules, Wish
from services.trainer.memory_figures import AdapterNumbers, BaseMemory, PassMemory
from services.trainer.placement import Standing
from services.trainer.preemption import Seat
from services.trainer.service import NewJob
from services.trainer.service_workers import Completion, Held, Instruction, Report
from services.trainer.sources import DatasetRevision
from services.trainer.spec import Precision, Target
from tests.fixtures.trainer_jobs import BASE, REVISION, draft
from tests.fixtures.trainer_service import Trainer, trainer_over_fakes

PLACES = 2
OTHER = replace(BASE, name="baseModels/other", sha256="e" * 64)


class Shop:
    """One worker with two places, jobs of several brands, and time that passes."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.held: dict[str, Held] = {}
        self.key: PackKey | None = None
        self.begun: list[str] = []
        self.number = 0

    async def submit(self, brand: str, *, base: str = BASE.name, priority: int = 0) -> str:
        self.number += 1
        revision = REVISION.name.replace("acme", brand)
        asked = draft(base_model=base, dataset_revision=revision, lora=f"brands/{brand}/loras/hero")
        new = NewJob(
            brand=brand,
            draft=asked,
            display_name=f"{brand} {self.number}",
            priority=priority,
            request_id="",
            body_digest="",
        )
        return (await self.trainer.service.create(new)).job.name

    async def pass_time(self, seconds: float) -> None:
        """The worker obeys, asks for more jobs, and is heard of."""
        trainer = self.trainer
        trainer.clock.advance(seconds)
        await trainer.packer.make_way()
        for held, told in await trainer.workers.heartbeat("w1", list(self.held.values())):
            if told is Instruction.PREEMPT:
                await self.end(held.job, JobState.PREEMPTED)
        await self.ask()

    async def ask(self) -> None:
        free = PLACES - len(self.held)
        if not free:
            return
        wish = Wish(max_jobs=free, joining=self.key if self.held else None)
        for job in await self.trainer.workers.lease(Seat("w1", PLACES, "CPU"), wish):
            self.held[job.name] = held = Held(job.name, job.fencing_token)
            await self.trainer.workers.report(Report(held=held, payloads=[JobState.RUNNING]))
            self.key = job.pack_key
            self.begun.append(job.name)

    async def end(self, name: str, state: JobState = JobState.SUCCEEDED) -> None:
        version = "v1" if state is JobState.SUCCEEDED else ""
        held = self.held.pop(name)
        await self.trainer.workers.complete(Completion(held=held, state=state, lora_version=version))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    set_principal(Principal(subject="somebody", brands=None, administrator=True))
    async with trainer_over_fakes(tmp_path) as trainer:
        trainer.registry.bases[OTHER.name] = OTHER
        for brand in ("zeta", "yotta"):
            trainer.registry.brands.add(f"brands/{brand}")
            name = REVISION.name.replace("acme", brand)
            revision: DatasetRevision = replace(REVISION, name=name)
            trainer.labeler.add(revision)
        yield Shop(trainer)


async def test_two_brands_that_flood_do_not_keep_a_third_waiting(shop: Shop) -> None:
    flood = [await shop.submit(brand) for _ in range(10) for brand in ("acme", "zeta")]
    await shop.ask()
    assert Counter(name.split("/")[1] for name in shop.held) == {"acme": 1, "zeta": 1}
    await shop.pass_time(30)
    one = await shop.submit("yotta")
    assert (await shop.trainer.service.get(one)).placement is not None
    placement = (await shop.trainer.service.get(one)).placement
    assert placement is not None and (placement.position, placement.standing) == (0, Standing.PACK_FULL)
    await shop.end(next(iter(shop.held)))
    await shop.ask()
    assert one in shop.held, "it gets the first place that is free"
    assert len(shop.begun) == 3 < len(flood)


async def test_a_job_on_another_base_waits_no_longer_than_a_turn(shop: Shop) -> None:
    """However many join the pack that runs, and though none of its jobs ever ends."""
    rules = QueueRules()
    for brand in ("acme", "zeta"):
        await shop.submit(brand)
    await shop.ask()
    one = await shop.submit("yotta", base=OTHER.name)
    waited = 0.0
    while one not in shop.held:
        for brand in ("acme", "zeta"):
            await shop.submit(brand)
        await shop.pass_time(30)
        waited += 30
        assert waited <= (rules.turn + rules.longest_wait).total_seconds() + 60
    assert waited >= rules.turn.total_seconds()
    assert list(shop.held) == [one]


async def test_packs_take_turns_and_nothing_is_lost(shop: Shop) -> None:
    first, second = await shop.submit("acme"), await shop.submit("zeta", base=OTHER.name)
    await shop.ask()
    for _ in range(100):
        await shop.pass_time(30)
    turns = [name for name, before in zip(shop.begun, ["", *shop.begun], strict=False) if name != before]
    assert turns[:3] == [first, second, first]
    job = (await shop.trainer.service.get(turns[-1])).job
    assert (job.failures, job.state) == (0, JobState.RUNNING)
    assert job.attempt >= 2


async def test_a_higher_priority_takes_the_place_of_a_lower_one_which_comes_back(shop: Shop) -> None:
    low = [await shop.submit("acme") for _ in range(2)]
    await shop.ask()
    await shop.pass_time(10)
    urgent = await shop.submit("acme", priority=10)
    await shop.pass_time(1)
    assert urgent not in shop.held, "its worker may just not have asked yet"
    await shop.pass_time(4)
    assert urgent in shop.held
    (left,) = [name for name in low if name not in shop.held]
    notices = [
        getattr(event.payload, "text", "") async for event in _events(shop, left) if event.sequence > 1
    ]
    assert "makes way for a job of priority 10; it goes on when a place is free" in notices
    await shop.end(urgent)
    await shop.ask()
    assert left in shop.held
    assert (await shop.trainer.service.get(left)).job.failures == 0


async def test_the_place_of_one_who_makes_way_is_kept_for_the_other(shop: Shop) -> None:
    for _ in range(2):
        await shop.submit("acme")
    await shop.ask()
    shop.trainer.clock.advance(10)
    await shop.submit("acme", priority=10)
    shop.trainer.clock.advance(6)
    assert await shop.trainer.packer.make_way() == 1
    assert await shop.trainer.packer.make_way() == 0, "one at a time"
    seat = Seat("w1", 3, "CPU")
    assert await shop.trainer.workers.lease(seat, Wish(max_jobs=1, joining=shop.key)) == []


async def test_a_cancelled_job_is_not_asked_to_make_way(shop: Shop) -> None:
    low = [await shop.submit("acme") for _ in range(2)]
    await shop.ask()
    shop.trainer.clock.advance(10)
    await shop.submit("acme", priority=10)
    shop.trainer.clock.advance(6)
    for name in low:
        await shop.trainer.service.cancel(name)
    await shop.trainer.packer.make_way()
    answers = await shop.trainer.workers.heartbeat("w1", list(shop.held.values()))
    assert {told for _, told in answers} == {Instruction.CANCEL}


MEMORY = BaseMemory(
    base_sha256=BASE.sha256,
    precision=Precision.AUTO,
    device="CPU",
    free_bytes=1 << 30,
    pass_bytes=1 << 30,
    adapters=(AdapterNumbers(Target.ATTENTION, False, 3_000_000),),
    passes=(PassMemory(area=512 * 512, recomputing=True, fixed_bytes=0, row_bytes=1 << 28),),
)


async def test_what_cannot_fit_is_refused_when_it_is_submitted(shop: Shop) -> None:
    trainer = shop.trainer
    await shop.ask()
    await trainer.packer.put_memory(MEMORY)
    with pytest.raises(InvalidArgument) as caught:
        await trainer.service.validate("acme", draft(resolution=2048))
    (violation,) = caught.value.violations
    assert violation.field == "spec.resolution"
    assert "4.0 GiB even with gradient checkpointing, and 1.0 GiB are there" in violation.description
    with pytest.raises(InvalidArgument, match=r"adapter\.rank"):
        await trainer.service.validate("acme", draft(rank=64))
    assert (await trainer.service.validate("acme", draft(rank=8))).spec.adapter.rank == 8


async def test_a_worker_that_has_measured_nothing_yet_may_fit_it(shop: Shop) -> None:
    trainer = shop.trainer
    await shop.ask()
    await trainer.packer.put_memory(MEMORY)
    with pytest.raises(InvalidArgument):
        await trainer.service.validate("acme", draft(resolution=2048))
    await trainer.workers.lease(Seat("w9", 8, "NVIDIA H200"), Wish(max_jobs=8))
    assert (await trainer.service.validate("acme", draft(resolution=2048))).spec.resolution == 2048
    trainer.clock.advance(timedelta(minutes=5).total_seconds())
    await shop.ask()
    with pytest.raises(InvalidArgument):
        await trainer.service.validate("acme", draft(resolution=2048))


async def test_workers_that_are_gone_tell_nothing_of_those_to_come(shop: Shop) -> None:
    trainer = shop.trainer
    await shop.ask()
    await trainer.packer.put_memory(MEMORY)
    with pytest.raises(InvalidArgument):
        await trainer.service.validate("acme", draft(resolution=2048))
    trainer.clock.advance(timedelta(minutes=5).total_seconds())
    assert (await trainer.service.validate("acme", draft(resolution=2048))).spec.resolution == 2048


async def test_figures_of_another_precision_tell_nothing(shop: Shop) -> None:
    """What takes too much in float32 may fit in bfloat16."""
    trainer = shop.trainer
    await shop.ask()
    await trainer.packer.put_memory(replace(MEMORY, precision=Precision.FLOAT32))
    with pytest.raises(InvalidArgument):
        await trainer.service.validate("acme", draft(resolution=2048, precision=Precision.FLOAT32))
    for other in (Precision.BFLOAT16, Precision.AUTO):
        plan = await trainer.service.validate("acme", draft(resolution=2048, precision=other))
        assert plan.spec.precision is other


async def test_each_precision_has_its_own_room(shop: Shop) -> None:
    trainer = shop.trainer
    for precision, free_bytes in ((Precision.AUTO, 1 << 30), (Precision.FLOAT32, 1 << 40)):
        await trainer.packer.put_memory(replace(MEMORY, precision=precision, free_bytes=free_bytes))
    for _ in range(4):
        await shop.submit("acme")
    assert len(await trainer.workers.lease(Seat("w1", 8, "CPU"), Wish(max_jobs=8))) == 2


async def test_a_pack_takes_as_many_jobs_as_its_device_has_room_for(shop: Shop) -> None:
    await shop.trainer.packer.put_memory(MEMORY)
    names = [await shop.submit("acme") for _ in range(4)]  # 366 MiB each at rank 8, and 256 MiB for a row
    leased = await shop.trainer.workers.lease(Seat("w1", 8, "CPU"), Wish(max_jobs=8))
    assert len(leased) == 2
    waiting = (await shop.trainer.service.get(names[2])).placement
    assert waiting is not None and (waiting.standing, waiting.start) == (Standing.PACK_FULL, None)
    assert waiting.why == "memory has no room for it beside 2 jobs that it could train with"
    joining = Wish(max_jobs=6, joining=leased[0].pack_key)
    assert await shop.trainer.workers.lease(Seat("w1", 8, "CPU"), joining) == []
    assert len(await shop.trainer.workers.lease(Seat("w2", 8, "other"), Wish(max_jobs=8))) == 2


async def test_a_device_without_room_is_full_whatever_places_it_has(shop: Shop) -> None:
    trainer, seat = shop.trainer, Seat("w1", 8, "CPU")
    await trainer.packer.put_memory(MEMORY)
    for _ in range(2):
        await shop.submit("acme")  # 366 MiB each at rank 8, and 256 MiB for a row
    low = await trainer.workers.lease(seat, Wish(max_jobs=8))
    urgent = await shop.submit("acme", priority=10)
    trainer.clock.advance(5)
    assert await trainer.packer.make_way() == 1
    for job in low:
        held = Held(job.name, job.fencing_token)
        ((_, told),) = await trainer.workers.heartbeat("w1", [held])
        if told is Instruction.PREEMPT:
            await trainer.workers.complete(Completion(held=held, state=JobState.PREEMPTED))
    (leased,) = await trainer.workers.lease(seat, Wish(max_jobs=7, joining=low[0].pack_key))
    assert leased.name == urgent


async def _events(shop: Shop, name: str):  # type: ignore[no-untyped-def]
    async with shop.trainer.service._jobs.snapshot() as reader:
        for event in await reader.events(name, after=0, limit=1000):
            yield event
