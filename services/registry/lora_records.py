"""LoRAs, their aliases, tags and words in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, String, cast, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import NotFound
from servicekit.filtering import FieldKind, FilterField, map_field, repeated_field
from servicekit.json_columns import JsonListHas
from services.registry.brand_records import FAMILY_CHOICES, locked
from services.registry.domain import ListQuery, Lora, LoraKey, ModelFamily, Page
from services.registry.domain_search_words import words_of
from services.registry.paging import list_rows, text_bytes
from services.registry.ports import Brands
from services.registry.tables import AliasRow, LoraRow, LoraTagRow, LoraWordRow, RetiredLoraRow


def _has_tag(tag: str) -> ColumnElement[bool]:
    return LoraRow.id.in_(select(LoraTagRow.lora).where(LoraTagRow.tag == tag))


def _alias_version(alias: str) -> ColumnElement[Any]:
    version = select(cast(AliasRow.version, String)).where(
        AliasRow.lora == LoraRow.id, AliasRow.alias == alias
    )
    return version.scalar_subquery()


_FIELDS: Final = {
    "name": FilterField(LoraRow.name, FieldKind.TEXT),
    "display_name": FilterField(LoraRow.display_name, FieldKind.TEXT),
    "description": FilterField(LoraRow.description, FieldKind.TEXT),
    "tags": repeated_field(_has_tag),
    "family": FilterField(LoraRow.family, FieldKind.CHOICE, choices=FAMILY_CHOICES),
    "trigger_words": repeated_field(lambda word: JsonListHas(LoraRow.trigger_words, word)),
    "aliases": map_field(_alias_version),
    "latest_version": FilterField(LoraRow.latest_version, FieldKind.INTEGER),
    "create_time": FilterField(LoraRow.create_time, FieldKind.TIME),
    "update_time": FilterField(LoraRow.update_time, FieldKind.TIME),
}

_KEY: Final = frozenset({"brand_id", "lora_id", "name"})


class SqlLoraRecords:
    """LoraRecords over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: LoraKey, *, lock: bool = False) -> Lora:
        row = await self._session.scalar(locked(select(LoraRow).where(LoraRow.name == str(key)), lock))
        if row is None:
            raise NotFound.of("Lora", str(key))
        return (await self._with_aliases([row]))[0]

    async def get_all(self, keys: Collection[LoraKey]) -> Mapping[LoraKey, Lora]:
        rows = await self._session.scalars(
            select(LoraRow).where(LoraRow.name.in_({str(key) for key in keys}))
        )
        return {lora.key: lora for lora in await self._with_aliases(list(rows))}

    async def exist(self, brand_id: str) -> bool:
        return bool(await self._session.scalar(select(exists().where(LoraRow.brand_id == brand_id))))

    async def add(self, lora: Lora) -> bool:
        retired = select(RetiredLoraRow.last_number).where(RetiredLoraRow.name == str(lora.key))
        values = {**_values(lora), "last_number": await self._session.scalar(retired) or 0}
        # Not an exception: on PostgreSQL that would end the transaction, and another maker's LoRA will do.
        dialect: Any = postgresql if self._session.get_bind().dialect.name == "postgresql" else sqlite
        statement = dialect.insert(LoraRow).values(**values).on_conflict_do_nothing().returning(LoraRow.id)
        row_id = await self._session.scalar(statement)
        if row_id is None:
            return False
        await self._index(row_id, lora)
        return True

    async def next_number(self, key: LoraKey) -> int:
        statement = (
            update(LoraRow).where(LoraRow.name == str(key)).values(last_number=LoraRow.last_number + 1)
        )
        number: int = (
            await self._session.execute(_unsynchronised(statement.returning(LoraRow.last_number)))
        ).scalar_one()
        return number

    async def replace(self, lora: Lora) -> None:
        # Not the key: on PostgreSQL that would look up, and lock, the brand once more.
        values = {name: value for name, value in _values(lora).items() if name not in _KEY}
        statement = update(LoraRow).where(LoraRow.name == str(lora.key)).values(**values)
        row_id = (await self._session.execute(_unsynchronised(statement.returning(LoraRow.id)))).scalar_one()
        for table in (LoraTagRow, LoraWordRow):
            await self._session.execute(delete(table).where(table.lora == row_id))
        await self._index(row_id, lora)

    async def delete(self, key: LoraKey) -> None:
        statement = delete(LoraRow).where(LoraRow.name == str(key)).returning(LoraRow.last_number)
        last_number = (await self._session.execute(_unsynchronised(statement))).scalar_one()
        await self._session.execute(delete(RetiredLoraRow).where(RetiredLoraRow.name == str(key)))
        await self._session.execute(insert(RetiredLoraRow).values(name=str(key), last_number=last_number))

    async def set_alias(self, key: LoraKey, alias: str, version: int) -> None:
        row_id = await self._row_id(key)
        await self._session.execute(delete(AliasRow).where(AliasRow.lora == row_id, AliasRow.alias == alias))
        await self._session.execute(insert(AliasRow).values(lora=row_id, alias=alias, version=version))

    async def delete_alias(self, key: LoraKey, alias: str) -> None:
        row_id = await self._row_id(key)
        await self._session.execute(delete(AliasRow).where(AliasRow.lora == row_id, AliasRow.alias == alias))

    async def list(self, brand_id: str, query: ListQuery) -> Page[Lora]:
        return await self._page(
            select(LoraRow).where(LoraRow.brand_id == brand_id), query, ("loras", brand_id)
        )

    async def search(self, brands: Brands, words: Sequence[str], query: ListQuery) -> Page[Lora]:
        statement = select(LoraRow)
        if brands is not None:
            statement = statement.where(LoraRow.brand_id.in_(sorted(brands)))
        for word in words:
            # A range of the index; U+10FFFF sorts after every character that a word can hold.
            inside = (LoraWordRow.word >= word) & (LoraWordRow.word < word + "\U0010ffff")
            statement = statement.where(LoraRow.id.in_(select(LoraWordRow.lora).where(inside)))
        return await self._page(statement, query, ("search", *words))

    async def _page(self, statement: Any, query: ListQuery, scope: Sequence[str]) -> Page[Lora]:
        page = await list_rows(
            self._session, statement, _FIELDS, query, scope=scope, order=("name", "name"), weigh=_weigh
        )
        return Page(await self._with_aliases(page.items), page.next_page_token)

    async def _with_aliases(self, rows: Sequence[LoraRow]) -> Sequence[Lora]:
        aliases: dict[int, dict[str, int]] = {row.id: {} for row in rows}
        found = await self._session.execute(
            select(AliasRow.lora, AliasRow.alias, AliasRow.version)
            .where(AliasRow.lora.in_(aliases))
            .order_by(AliasRow.alias)
        )
        for row_id, alias, version in found:
            aliases[row_id][alias] = version
        return [_lora(row, aliases[row.id]) for row in rows]

    async def _row_id(self, key: LoraKey) -> int:
        row_id = await self._session.scalar(select(LoraRow.id).where(LoraRow.name == str(key)))
        if row_id is None:
            raise NotFound.of("Lora", str(key))
        return row_id

    async def _index(self, row_id: int, lora: Lora) -> None:
        words = words_of(lora.key.lora, lora.display_name, lora.description, *lora.tags, *lora.trigger_words)
        if lora.tags:
            tags = [{"tag": tag, "lora": row_id} for tag in dict.fromkeys(lora.tags)]
            await self._session.execute(insert(LoraTagRow), tags)
        if words:
            await self._session.execute(
                insert(LoraWordRow), [{"word": word, "lora": row_id} for word in words]
            )


def _unsynchronised(statement: Any) -> Any:
    # Rows are read again where they are needed; matching loaded objects would be wasted.
    return statement.execution_options(synchronize_session=False)


def _weigh(row: LoraRow) -> int:
    return 3000 + text_bytes(row.description, row.display_name, *row.tags, *row.trigger_words)


def _values(lora: Lora) -> dict[str, Any]:
    return {
        "brand_id": lora.key.brand,
        "lora_id": lora.key.lora,
        "name": str(lora.key),
        "display_name": lora.display_name,
        "description": lora.description,
        "tags": list(lora.tags),
        "family": lora.family.value if lora.family else "",
        "latest_version": lora.latest_version,
        "trigger_words": list(lora.trigger_words),
        "create_time": lora.create_time,
        "update_time": lora.update_time,
        "etag": lora.etag,
    }


def _lora(row: LoraRow, aliases: Mapping[str, int]) -> Lora:
    return Lora(
        key=LoraKey(row.brand_id, row.lora_id),
        display_name=row.display_name,
        description=row.description,
        tags=tuple(row.tags),
        family=ModelFamily(row.family) if row.family else None,
        latest_version=row.latest_version,
        aliases=aliases,
        trigger_words=tuple(row.trigger_words),
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
    )
