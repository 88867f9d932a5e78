"""Texts in SQL."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import NotFound
from servicekit.filtering import FieldKind, FilterField
from services.labeler.domain import ListQuery, Page, Split
from services.labeler.domain_texts import Message, Text, TextForm, TextTotals, Words
from services.labeler.keys import DatasetKey, TextKey
from services.labeler.paging import page_of
from services.labeler.tables import TextRow

FIELDS: Final = {
    "text_id": FilterField(TextRow.text, FieldKind.TEXT),
    "position": FilterField(TextRow.position, FieldKind.INTEGER),
    "prompt": FilterField(TextRow.prompt, FieldKind.TEXT),
    "response": FilterField(TextRow.response, FieldKind.TEXT),
    "messages": FilterField(TextRow.messages, FieldKind.TEXT),
    "source_name": FilterField(TextRow.source_name, FieldKind.TEXT),
    "line_number": FilterField(TextRow.line_number, FieldKind.INTEGER),
    "split": FilterField(
        TextRow.split, FieldKind.CHOICE, choices={split.value: split.value for split in Split}
    ),
    "excluded": FilterField(TextRow.excluded, FieldKind.BOOLEAN),
    "create_time": FilterField(TextRow.create_time, FieldKind.TIME),
    "update_time": FilterField(TextRow.update_time, FieldKind.TIME),
}
_SEARCH: Final = ("source_name", "prompt", "response", "messages")
# Databases allow only so many parameters in one statement.
_ROWS_AT_ONCE: Final = 1000


class SqlTextRecords:
    """TextRecords within one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: TextKey, *, lock: bool = False) -> Text:
        statement = select(TextRow).where(_of(key.parent), TextRow.text == key.text)
        row = await self._session.scalar(statement.with_for_update() if lock else statement)
        if row is None:
            raise NotFound.of("Text", key.name)
        return _text(row)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Text]:
        return await page_of(
            self._session,
            select(TextRow).where(_of(parent)),
            FIELDS,
            query,
            _text,
            scope=("texts", parent.name),
            default_order="position",
            tie_breaker="position",
            search=_SEARCH,
        )

    async def totals(self, parent: DatasetKey) -> TextTotals:
        found = await self._session.execute(
            select(
                func.count(),
                func.coalesce(func.max(TextRow.position), 0),
                func.coalesce(func.sum(TextRow.size_bytes), 0),
                func.coalesce(func.sum(case((TextRow.messages != "", 1), else_=0)), 0),
            ).where(_of(parent))
        )
        count, position, size_bytes, conversations = found.one()
        form = None
        if count:
            form = TextForm.CONVERSATION if conversations else TextForm.PAIR
        return TextTotals(count, form, int(position), int(size_bytes))

    async def included(self, parent: DatasetKey) -> list[Text]:
        rows = await self._session.scalars(
            select(TextRow).where(_of(parent), TextRow.excluded.is_(False)).order_by(TextRow.position)
        )
        return [_text(row) for row in rows]

    async def known(self, parent: DatasetKey, digests: Collection[str]) -> set[str]:
        wanted, found = list(digests), set[str]()
        for start in range(0, len(wanted), _ROWS_AT_ONCE):
            some = wanted[start : start + _ROWS_AT_ONCE]
            found.update(
                await self._session.scalars(
                    select(TextRow.sha256).where(_of(parent), TextRow.sha256.in_(some))
                )
            )
        return found

    async def add(self, texts: Sequence[Text]) -> None:
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            rows = [_columns(text) for text in texts[start : start + _ROWS_AT_ONCE]]
            await self._session.execute(insert(TextRow), rows)

    async def replace(self, text: Text) -> None:
        await self._session.execute(
            update(TextRow).where(TextRow.text == text.key.text).values(**_columns(text))
        )

    async def delete(self, key: TextKey) -> None:
        await self._session.execute(delete(TextRow).where(_of(key.parent), TextRow.text == key.text))


def _of(parent: DatasetKey) -> ColumnElement[bool]:
    return and_(TextRow.brand == parent.brand, TextRow.dataset == parent.dataset)


def _columns(text: Text) -> dict[str, Any]:
    # Not escaped, so that filters find words as they are written.
    turns = [{"role": message.role, "content": message.content} for message in text.words.messages]
    return {
        "text": text.key.text,
        "brand": text.key.parent.brand,
        "dataset": text.key.parent.dataset,
        "position": text.position,
        "source_name": text.source_name,
        "line_number": text.line_number,
        "prompt": text.words.prompt,
        "response": text.words.response,
        "messages": json.dumps(turns, ensure_ascii=False) if turns else "",
        "sha256": text.sha256,
        "size_bytes": text.size_bytes,
        "split": text.split.value,
        "excluded": text.excluded,
        "create_time": text.create_time,
        "update_time": text.update_time,
        "etag": text.etag,
    }


def _text(row: TextRow) -> Text:
    turns = json.loads(row.messages) if row.messages else []
    return Text(
        key=TextKey(DatasetKey(row.brand, row.dataset), row.text),
        words=Words(
            prompt=row.prompt,
            response=row.response,
            messages=tuple(Message(turn["role"], turn["content"]) for turn in turns),
        ),
        split=Split(row.split),
        excluded=row.excluded,
        position=row.position,
        source_name=row.source_name,
        line_number=row.line_number,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
    )
