"""A labeler without its RPCs: real records and a real store, with a captioner that does as it is told."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from servicekit.artifacts.local import LocalStore
from services.labeler.bell import Bell
from services.labeler.domain import CaptionSource, Image, JobState, LabelEvent, LabelJob, RequestId
from services.labeler.repository import SqlRecords
from services.labeler.service_labeling import LabelJobService, LabelSettings
from services.labeler.service_lease import RunnerSettings
from services.labeler.service_runner import LabelJobRunner
from tests.fakes.labeler import CountingMeter, FakeCaptioner, SetClock
from tests.integration.labeler.samples import PARENT, dataset, image
from tests.waiting import until

SETTINGS = RunnerSettings(lease_seconds=0.3, poll_seconds=0.05, cancel_grace_seconds=0.2, retry_seconds=0.0)


class World:
    """A labeler without its RPCs."""

    def __init__(self, records: SqlRecords, home: Path) -> None:
        self.records = records
        self.store = LocalStore(home / "store")
        self.captioner = FakeCaptioner()
        self.clock = SetClock()
        self.bell = Bell()
        self.meter = CountingMeter()
        self.errors: list[BaseException] = []
        self.jobs = LabelJobService(records, self.clock, self.bell, captioner="fake", poll_seconds=0.05)

    async def pictures(self, count: int) -> list[Image]:
        """A dataset of so many pictures, in the store too."""
        images = [image(number) for number in range(count)]
        async with self.records.transaction() as unit:
            await unit.datasets.add(dataset())
            for one in images:
                await unit.images.add(one)
        for number in range(count):
            await self.store.put_bytes(f"png {number}".encode())
        return images

    async def captions(self) -> list[str]:
        async with self.records.snapshot() as unit:
            return [one.caption for one in await unit.images.matching(PARENT, "")]

    async def set_caption(self, one: Image, caption: str, source: CaptionSource) -> None:
        async with self.records.transaction() as unit:
            await unit.images.replace(dataclasses.replace(one, caption=caption, caption_source=source))

    async def create(self, **settings: object) -> LabelJob:
        return await self.jobs.create(PARENT, LabelSettings(**settings), RequestId("", ""))

    async def watch(self, job: LabelJob, after: int = 0) -> list[LabelEvent]:
        async with asyncio.timeout(20):
            return [event async for event in self.jobs.watch(job.key, after)]

    async def in_state(self, job: LabelJob, *states: JobState) -> None:
        async def holds() -> bool:
            return (await self.jobs.get(job.key)).state in states

        await until(holds)

    async def measure(self) -> None:
        """As the service does now and then."""
        await self._runner().measure()

    @asynccontextmanager
    async def runner(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self._runner().run_forever())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _runner(self) -> LabelJobRunner:
        return LabelJobRunner(
            records=self.records,
            store=self.store,
            captioner=self.captioner,
            clock=self.clock,
            bell=self.bell,
            meter=self.meter,
            settings=SETTINGS,
            report=self.errors.append,
        )
