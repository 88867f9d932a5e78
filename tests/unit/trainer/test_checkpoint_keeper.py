"""Which checkpoints are thrown away, and that nobody else's file ever is; in SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from servicekit.artifacts.local import LocalStore
from servicekit.database import Database, migrate
from servicekit.errors import Unavailable
from services.trainer.application import MIGRATIONS
from services.trainer.domain import Job
from services.trainer.events import ArtifactKind, Failure, JobArtifact
from services.trainer.repository import SqlJobs
from services.trainer.retries import RetryPolicy
from services.trainer.service_checkpoints import CheckpointKeeper
from services.trainer.sources import Blob
from tests.fakes.trainer_ports import ManualClock
from tests.fixtures.trainer_jobs import job

DAY = timedelta(days=1)


class Store(LocalStore):
    """A store that can be away when something is to be deleted."""

    away = False

    async def delete(self, sha256: str) -> None:
        if self.away:
            raise Unavailable("the store is away")
        await super().delete(sha256)


@dataclass
class Shelf:
    """Jobs, a store, and somebody who keeps order there."""

    jobs: SqlJobs
    store: Store
    clock: ManualClock
    keeper: CheckpointKeeper

    async def running(self, name: str) -> Job:
        """A job that is being trained."""
        made = job(name)
        async with self.jobs.transaction() as transaction:
            await transaction.insert(made)
            made.lease_to("w1", self.clock.now(), timedelta(minutes=1))
            await transaction.save(made)
        return made

    async def put(self, name: str, step: int, *, data: bytes, kind: ArtifactKind) -> Blob:
        """Reports a file of the job that is in the store."""
        stored = await self.store.put_bytes(data)
        blob = Blob(stored.sha256, stored.size_bytes)
        file = JobArtifact(kind=kind, file_name=f"{kind}-{step}", blob=blob, media_type="x", step=step)
        async with self.jobs.transaction() as transaction:
            found = await transaction.lock(name)
            assert found is not None
            found.report(file, self.clock.now())
            await transaction.save(found)
        return blob

    async def checkpoint(self, name: str, step: int) -> Blob:
        """Reports a checkpoint of its own."""
        return await self.put(name, step, data=f"{name} {step}".encode(), kind=ArtifactKind.CHECKPOINT)

    async def end(self, name: str, how: str) -> None:
        now = self.clock.now()
        async with self.jobs.transaction() as transaction:
            found = await transaction.lock(name)
            assert found is not None
            if how == "succeed":
                found.succeed(1, "brands/acme/loras/hero/versions/1", now)
            elif how == "fail":
                found.fail(1, Failure("R", "why"), now, RetryPolicy(), retryable=False)
            else:
                found.cancel(now)
                found.stop(1, now)
            await transaction.save(found)

    async def there(self, *blobs: Blob) -> list[bool]:
        return [await self.store.stat(blob.sha256) is not None for blob in blobs]

    async def files_of(self, name: str) -> list[str]:
        async with self.jobs.snapshot() as reader:
            record = await reader.find(name)
        assert record is not None
        return [artifact.file_name for artifact in record.artifacts]


@pytest.fixture
async def shelf(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shelf]:
    await asyncio.to_thread(migrate, database_url, MIGRATIONS)
    database, clock = Database(database_url), ManualClock()
    jobs, store = SqlJobs(database, clock), Store(tmp_path_factory.mktemp("store"))
    yield Shelf(jobs, store, clock, CheckpointKeeper(jobs, store, clock, keep=14 * DAY))
    await database.dispose()


async def test_of_a_running_job_the_newest_is_kept(shelf: Shelf) -> None:
    one, other = await shelf.running("one"), await shelf.running("other")
    blobs = [await shelf.checkpoint(one.name, step) for step in (5, 10, 15)]
    alone = await shelf.checkpoint(other.name, 5)
    await shelf.keeper.sweep()
    assert await shelf.there(*blobs, alone) == [False, False, True, True]
    assert await shelf.files_of(one.name) == ["checkpoint-15"]
    await shelf.keeper.sweep()
    assert await shelf.there(blobs[-1], alone) == [True, True]


async def test_a_job_that_has_succeeded_needs_none(shelf: Shelf) -> None:
    made = await shelf.running("one")
    result = await shelf.put(made.name, 9, data=b"lora", kind=ArtifactKind.LORA)
    blobs = [await shelf.checkpoint(made.name, step) for step in (5, 9)]
    await shelf.end(made.name, "succeed")
    await shelf.keeper.sweep()
    assert await shelf.there(*blobs, result) == [False, False, True]
    assert await shelf.files_of(made.name) == ["lora-9"]


@pytest.mark.parametrize("end", ["fail", "cancel"])
async def test_a_job_can_be_resumed_from_its_checkpoint_for_a_while(shelf: Shelf, end: str) -> None:
    made = await shelf.running("one")
    blob = await shelf.checkpoint(made.name, 5)
    await shelf.end(made.name, end)
    shelf.clock.advance((14 * DAY).total_seconds())
    await shelf.keeper.sweep()
    assert await shelf.there(blob) == [True]
    shelf.clock.advance(1)
    await shelf.keeper.sweep()
    assert await shelf.there(blob) == [False]
    async with shelf.jobs.transaction() as transaction:
        found = await transaction.lock(made.name)
        assert found is not None and found.checkpoint is None
        found.resume(shelf.clock.now())  # from the beginning
        await transaction.save(found)


async def test_a_resumed_job_keeps_its_checkpoint(shelf: Shelf) -> None:
    made = await shelf.running("one")
    blob = await shelf.checkpoint(made.name, 5)
    await shelf.end(made.name, "fail")
    async with shelf.jobs.transaction() as transaction:
        found = await transaction.lock(made.name)
        assert found is not None
        found.resume(shelf.clock.now())
        await transaction.save(found)
    shelf.clock.advance((30 * DAY).total_seconds())
    await shelf.keeper.sweep()
    assert await shelf.there(blob) == [True]


async def test_a_file_that_another_job_has_too_stays(shelf: Shelf) -> None:
    one, other = await shelf.running("one"), await shelf.running("other")
    shared = await shelf.put(one.name, 5, data=b"the same", kind=ArtifactKind.CHECKPOINT)
    await shelf.put(other.name, 5, data=b"the same", kind=ArtifactKind.CHECKPOINT)
    await shelf.end(one.name, "succeed")
    await shelf.keeper.sweep()
    assert await shelf.there(shared) == [True]
    await shelf.end(other.name, "succeed")
    await shelf.keeper.sweep()
    assert await shelf.there(shared) == [False]


async def test_what_could_not_be_deleted_is_deleted_by_the_next_sweep(shelf: Shelf) -> None:
    made = await shelf.running("one")
    blob = await shelf.checkpoint(made.name, 5)
    await shelf.end(made.name, "succeed")
    shelf.store.away = True
    with pytest.raises(Unavailable):
        await shelf.keeper.sweep()
    assert await shelf.files_of(made.name) == []
    shelf.store.away = False
    await shelf.keeper.sweep()
    assert await shelf.there(blob) == [False]
