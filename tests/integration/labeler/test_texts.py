"""Texts on both databases: what is written is read, and uploads that meet one another."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from functools import partial

import pytest
from sqlalchemy import text

from servicekit.database import Database, migrate
from servicekit.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from services.labeler.__main__ import MIGRATIONS
from services.labeler.domain import ListQuery, Split
from services.labeler.domain_texts import Message, TextForm, TextTotals, Words
from services.labeler.keys import DatasetKey, RevisionKey, TextKey
from services.labeler.limits import UploadLimits
from services.labeler.repository import SqlRecords
from services.labeler.service_texts import TextService
from services.labeler.text_lines import line_of
from tests.fakes.labeler import SetClock
from tests.integration.labeler.samples import PARENT, dataset, image

TALK = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def lines(*numbers: int) -> bytes:
    records = [{"prompt": f"\N{SNOWMAN} {number}", "response": f"It is {number}."} for number in numbers]
    return "".join(json.dumps(record) + "\n" for record in records).encode()


async def service(records: SqlRecords, **limits: int) -> TextService:
    async with records.transaction() as unit:
        await unit.datasets.add(dataset())
    return TextService(records, SetClock(), dataclasses.replace(UploadLimits(), **limits))


async def totals(records: SqlRecords) -> TextTotals:
    async with records.snapshot() as unit:
        return await unit.texts.totals(PARENT)


async def test_a_text_is_read_as_it_was_written(records: SqlRecords) -> None:
    texts = await service(records)
    assert await totals(records) == TextTotals()
    await texts.upload(PARENT, "t.jsonl", lines(7), split=None)
    (kept,) = (await texts.page(PARENT, ListQuery())).items
    assert kept.words == Words(prompt="\N{SNOWMAN} 7", response="It is 7.")
    assert kept.size_bytes == len(line_of(kept.words, Split.TRAIN))
    words = Words(messages=(Message("user", 'say "\N{SNOWMAN}"\n'), Message("assistant", "\N{SNOWMAN}")))
    changed = dataclasses.replace(kept, words=words, split=Split.VALIDATION, excluded=True, sha256="f" * 64)
    async with records.transaction() as unit:
        await unit.texts.replace(changed)
    assert await texts.get(kept.key) == changed
    found = await texts.page(PARENT, ListQuery(filter='messages:"\N{SNOWMAN}" AND excluded = true'))
    assert found.items == (changed,)
    assert await totals(records) == TextTotals(1, TextForm.CONVERSATION, 1, kept.size_bytes)
    async with records.snapshot() as unit:
        assert await unit.texts.included(PARENT) == []


async def test_more_texts_than_a_statement_takes(records: SqlRecords) -> None:
    texts = await service(records)
    done = await texts.upload(PARENT, "t.jsonl", lines(*range(2500)), split=None)
    assert (done.added, done.unchanged) == (2500, 0)
    again = await texts.upload(PARENT, "u.jsonl", lines(*range(2400, 2600)), split=None)
    assert (again.added, again.unchanged) == (100, 100)
    async with records.snapshot() as unit:
        kept = await unit.texts.included(PARENT)
        assert (await unit.datasets.get(PARENT)).counts.texts == 2600
    assert [text.words.response for text in kept] == [f"It is {number}." for number in range(2600)]
    assert [text.position for text in kept] == list(range(1, 2601))


async def test_a_position_is_not_given_twice(records: SqlRecords) -> None:
    texts = await service(records)
    await texts.upload(PARENT, "t.jsonl", lines(1, 2, 3), split=None)
    middle = (await texts.page(PARENT, ListQuery())).items[1]
    await texts.delete(middle.key, etag=middle.etag)
    await texts.upload(PARENT, "t.jsonl", lines(2), split=None)
    after = (await texts.page(PARENT, ListQuery())).items
    assert [(text.words.response, text.position) for text in after] == [
        ("It is 1.", 1),
        ("It is 3.", 3),
        ("It is 2.", 4),
    ]


async def test_uploads_at_once_leave_each_text_once(records: SqlRecords) -> None:
    texts = await service(records)
    files = [lines(*range(start, start + 60)) for start in (0, 20, 40)]
    done = await asyncio.gather(*(texts.upload(PARENT, "t.jsonl", data, split=None) for data in files))
    assert sum(one.added for one in done) == 100
    assert (await totals(records)).count == 100


async def test_a_picture_that_comes_first_keeps_texts_out(records: SqlRecords) -> None:
    texts = await service(records)
    async with records.transaction() as unit:
        await unit.datasets.get(PARENT, lock=True)
        uploading = asyncio.create_task(texts.upload(PARENT, "t.jsonl", lines(1), split=None))
        await asyncio.sleep(0.2)
        await unit.images.add(image(1))
    with pytest.raises(FailedPrecondition, match="holds pictures, so it takes no texts"):
        await uploading
    assert (await totals(records)).count == 0


async def test_a_form_that_comes_first_keeps_the_other_out(records: SqlRecords) -> None:
    texts = await service(records)
    await texts.upload(PARENT, "t.jsonl", TALK, split=None)
    with pytest.raises(InvalidArgument, match="is a prompt with its response"):
        await texts.upload(PARENT, "t.jsonl", lines(1), split=None)


@pytest.mark.parametrize(("limits", "words"), [({"max_dataset_texts": 3}, "4 texts"), ({}, "4 texts")])
async def test_a_dataset_that_is_full_takes_none_of_a_file(
    records: SqlRecords, limits: dict[str, int], words: str
) -> None:
    texts = await service(records, **(limits or {"max_dataset_text_bytes": 250}))
    await texts.upload(PARENT, "t.jsonl", lines(1, 2), split=None)
    with pytest.raises(ResourceExhausted, match=words) as refused:
        await texts.upload(PARENT, "t.jsonl", lines(2, 3, 4), split=None)
    assert refused.value.reason == "DATASET_FULL"
    assert (await totals(records)).count == 2


async def test_texts_belong_to_their_dataset(records: SqlRecords) -> None:
    texts = await service(records)
    other = DatasetKey("acme", "coats")
    async with records.transaction() as unit:
        await unit.datasets.add(dataset(other))
    for parent in (PARENT, other):
        assert (await texts.upload(parent, "t.jsonl", lines(1), split=None)).added == 1
    (kept,) = (await texts.page(PARENT, ListQuery())).items
    with pytest.raises(NotFound):
        await texts.get(TextKey(other, kept.key.text))
    async with records.transaction() as unit:
        await unit.datasets.delete(PARENT)
    assert (await totals(records)).count == 0
    assert len((await texts.page(other, ListQuery())).items) == 1


async def test_revisions_from_before_there_were_texts_hold_none(database_url: str) -> None:
    await asyncio.to_thread(partial(migrate, database_url, MIGRATIONS, revision="0001"))
    database = Database(database_url)
    sealed = RevisionKey(PARENT, 1)
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO revisions (brand, dataset, revision, sha256, size_bytes, image_count,"
                " trigger_words, note, creator, create_time)"
                " VALUES ('acme', 'hats', 1, 'a', 2, 3, '[]', '', 'me', '2026-01-01 00:00:00+00:00')"
            )
        )
    await asyncio.to_thread(migrate, database_url, MIGRATIONS)
    async with SqlRecords(database).snapshot() as unit:
        found = await unit.revisions.get(sealed)
    await database.dispose()
    assert (found.image_count, found.text_count) == (3, 0)
