"""The records on both databases: what is written is read, and the queries of the use cases."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest

from servicekit.database import Database, migrate
from servicekit.errors import AlreadyExists, NotFound
from servicekit.migrations import schema_drift
from services.labeler import placing
from services.labeler.__main__ import MIGRATIONS
from services.labeler.domain import (
    CaptionChange,
    CaptionSource,
    Failure,
    ImageFlag,
    JobState,
    LabeledImage,
    LabelEvent,
    LabelProgress,
    ListQuery,
    RequestId,
    Revision,
    Split,
)
from services.labeler.keys import DatasetKey, ImageKey, RevisionKey
from services.labeler.repository import SqlRecords
from services.labeler.tables import Base
from tests.integration.labeler.samples import NOW, PARENT, dataset, fingerprint, image, job


async def test_the_migrations_make_what_the_models_say(records: SqlRecords, database_url: str) -> None:
    assert schema_drift(database_url, Base.metadata) == []


async def test_a_dataset_with_its_counts(records: SqlRecords) -> None:
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        await unit.images.add(image(1, caption="a hat", flags=(ImageFlag.TOO_SMALL,)))
        await unit.images.add(image(2))
    with pytest.raises(AlreadyExists):
        async with records.transaction() as unit:
            await unit.datasets.add(dataset())
    async with records.snapshot() as unit:
        found = await unit.datasets.get(PARENT)
        page = await unit.datasets.page("acme", ListQuery())
    assert page.items == (found,)
    assert (found.counts.images, found.counts.captioned, found.counts.flagged) == (2, 1, 1)


async def test_a_picture_is_read_as_it_was_written(records: SqlRecords) -> None:
    whole = image(
        1,
        fingerprint=fingerprint(1, perceptual_hash=(1 << 64) - 1),
        caption="\N{SNOWMAN} hat",
        caption_source=CaptionSource.REVIEWER,
        tags=("b", "a"),
        flags=(ImageFlag.TOO_SMALL, ImageFlag.NEAR_DUPLICATE),
        duplicate_of="f" * 32,
        split=Split.VALIDATION,
        excluded=True,
    )
    failure = Failure("FILE_EMPTY", "the file is empty")
    broken = placing.unreadable(PARENT, source_name="x", source_sha256="0" * 64, failure=failure, now=NOW)
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        await unit.images.add(whole)
        await unit.images.add(broken)
    async with records.snapshot() as unit:
        assert await unit.images.get(whole.key) == whole
        assert await unit.images.get(broken.key) == broken
        assert await unit.images.matching(PARENT, "tags:a flags:TOO_SMALL") == [whole]
        assert await unit.images.matching(PARENT, "flags:UNREADABLE OR tags:zzz") == [broken]
        assert await unit.images.included(PARENT) == []
        with pytest.raises(NotFound):
            await unit.images.get(ImageKey(DatasetKey("other", "hats"), whole.key.image))


async def test_candidates_for_near_duplicates(records: SqlRecords) -> None:
    base = 0xDEADBEEF_01234567
    near = [base, base ^ 0b11111, base ^ (1 << 63) ^ 1, base ^ 0x8004_0100_8004_0000]
    far = base ^ 0xFFFF_FFFF_FFFF_FFFF
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        await unit.datasets.add(dataset(DatasetKey("acme", "other")))
        for number, value in enumerate([*near, far]):
            await unit.images.add(image(number, fingerprint=fingerprint(number, perceptual_hash=value)))
        await unit.images.add(
            image(9, DatasetKey("acme", "other"), fingerprint=fingerprint(0, perceptual_hash=base))
        )
    async with records.snapshot() as unit:
        found = await unit.images.sharing_a_band(PARENT, fingerprint(0, perceptual_hash=base))
        assert {one.source_name for one in found} == {"0.png", "1.png", "2.png", "3.png"}
        assert (await unit.images.by_pixels(PARENT, fingerprint(3).pixel_sha256)).source_name == "3.png"


async def test_captions_are_set_in_bulk(records: SqlRecords) -> None:
    images = [image(number) for number in range(3)]
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        for one in images:
            await unit.images.add(one)
        changes = [
            CaptionChange(image=one.key.image, caption=f"c{index}", source=CaptionSource.IMPORTED)
            for index, one in enumerate(images[:2])
        ]
        await unit.images.set_captions(PARENT, changes, NOW + timedelta(seconds=1))
    async with records.snapshot() as unit:
        after = await unit.images.matching(PARENT, "")
    assert [one.caption for one in after] == ["c0", "c1", ""]
    assert after[0].etag not in {images[0].etag, after[1].etag}
    assert after[2] == images[2]


async def test_what_a_job_has_to_label(records: SqlRecords) -> None:
    bare, written = image(1), image(2, caption="c", caption_source=CaptionSource.CAPTIONER)
    reviewed = image(3, caption="c", caption_source=CaptionSource.REVIEWER)
    out, done = image(4, excluded=True), image(5, label_job="1" * 32)
    plain, over = job(), job(overwrite=True)
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        for one in (bare, written, reviewed, out, done):
            await unit.images.add(one)
        again = dataclasses.replace(plain, key=dataclasses.replace(plain.key, job="1" * 32))
        assert await unit.images.to_label(plain, 9) == [bare, done]
        assert await unit.images.to_label(over, 9) == [bare, written, done]
        assert await unit.images.to_label(again, 9) == [bare]
        assert await unit.images.to_label(over, 1) == [bare]
        assert await unit.images.count_to_label(over) == 3


async def test_jobs_and_their_events(records: SqlRecords) -> None:
    made = job(
        progress=LabelProgress(1, 3, 1, 0.5, 2.0),
        error=Failure("X", "y"),
        start_time=NOW,
        lease_until=NOW,
        state=JobState.RUNNING,
    )
    told = [
        LabelEvent(1, NOW, JobState.QUEUED),
        LabelEvent(2, NOW, LabelProgress(1, 2)),
        LabelEvent(3, NOW, LabeledImage("i", "a hat")),
        LabelEvent(4, NOW, LabeledImage("i", failure=Failure("X", "y"))),
        LabelEvent(5, NOW, Failure("X", "y")),
    ]
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        await unit.jobs.add(made)
        await unit.jobs.add_events(made.key, told)
    async with records.snapshot() as unit:
        assert await unit.jobs.get(made.key) == made
        assert await unit.jobs.events_after(made.key, 0, 9) == told
        assert await unit.jobs.events_after(made.key, 2, 2) == told[2:4]
        page = await unit.jobs.page(PARENT, ListQuery(filter="state = JOB_STATE_RUNNING"))
        assert page.items == (made,)
    async with records.transaction() as unit:
        await unit.datasets.delete(PARENT)
        assert await unit.jobs.events_after(made.key, 0, 9) == []


async def test_which_job_comes_next(records: SqlRecords) -> None:
    later = NOW + timedelta(seconds=10)
    queued = job(create_time=later)
    waiting = job(create_time=NOW, lease_until=later)
    held = job(state=JobState.RUNNING, lease_until=later, create_time=NOW + timedelta(seconds=1))
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        for one in (queued, waiting, held, job(state=JobState.SUCCEEDED)):
            await unit.jobs.add(one)
    async with records.transaction() as unit:
        assert await unit.jobs.claimable(NOW) == queued
        assert await unit.jobs.claimable(later + timedelta(seconds=1)) == waiting
        await unit.jobs.replace(dataclasses.replace(waiting, state=JobState.CANCELLED))
        assert await unit.jobs.claimable(later + timedelta(seconds=1)) == held
        assert await unit.jobs.waiting() == 1


@pytest.mark.postgres
async def test_two_runners_do_not_get_the_same_job(postgres_url: str) -> None:
    await asyncio.to_thread(migrate, postgres_url, MIGRATIONS)
    database = Database(postgres_url)
    records = SqlRecords(database)
    first, second = job(), job(create_time=NOW + timedelta(seconds=1))
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        await unit.jobs.add(first)
        await unit.jobs.add(second)
    async with records.transaction() as one, records.transaction() as other:
        assert await one.jobs.claimable(NOW) == first
        assert await other.jobs.claimable(NOW) == second
    await database.dispose()


async def test_revisions_outlive_their_dataset(records: SqlRecords) -> None:
    revision = Revision(
        key=RevisionKey(PARENT, 1),
        sha256="a" * 64,
        size_bytes=5,
        image_count=1,
        trigger_words=("x", "y"),
        note="n",
        creator="c",
        create_time=NOW,
    )
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
        await unit.revisions.add(revision)
        assert (await unit.datasets.get(PARENT)).latest_revision == 1
        await unit.datasets.delete(PARENT)
    async with records.snapshot() as unit:
        assert await unit.revisions.get(RevisionKey(PARENT, 0)) == revision
        assert (await unit.revisions.page(PARENT, ListQuery())).items == (revision,)
        with pytest.raises(NotFound):
            await unit.revisions.get(RevisionKey(PARENT, 2))


async def test_request_ids(records: SqlRecords) -> None:
    asked = RequestId("6b1a7e2c-5f1e-4f2a-9d4e-2f3c8a9b0c1d", "a" * 64)
    async with records.transaction() as unit:
        assert await unit.remember("acme", asked, "first", NOW) is None
        assert await unit.remember("acme", asked, "second", NOW) == "first"
        assert await unit.remember("acme", RequestId("", ""), "x", NOW) is None
        with pytest.raises(AlreadyExists):
            await unit.remember("acme", dataclasses.replace(asked, body_sha256="b" * 64), "x", NOW)
