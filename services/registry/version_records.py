"""Versions in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import String, delete, insert, literal, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import NotFound
from servicekit.filtering import FieldKind, FilterField, repeated_field
from servicekit.json_columns import JsonListHas
from services.registry.domain import (
    ListQuery,
    LoraFormat,
    LoraKey,
    LoraOrigin,
    LoraVersion,
    ModelFamily,
    ModuleRank,
    Page,
    base_model_name,
)
from services.registry.domain_files import StoredFile
from services.registry.domain_references import parse_version_name
from services.registry.origin_codec import read_details, read_file, write_details, write_file
from services.registry.paging import list_rows, text_bytes
from services.registry.ports import Brands
from services.registry.tables import AliasRow, LoraRow, VersionDetailsRow, VersionRow, VersionTagRow

_FORMAT_CHOICES: Final = {
    word: known.value
    for known in LoraFormat
    for word in (known.name, known.value, f"LORA_FORMAT_{known.name}")
}


_FIELDS: Final = {
    "version": FilterField(VersionRow.version, FieldKind.INTEGER),
    "base_model": FilterField(VersionRow.base_model, FieldKind.TEXT),
    "format": FilterField(VersionRow.format, FieldKind.CHOICE, choices=_FORMAT_CHOICES),
    "rank": FilterField(VersionRow.rank, FieldKind.INTEGER),
    "sha256": FilterField(VersionRow.sha256, FieldKind.TEXT),
    "training_job": FilterField(VersionRow.training_job, FieldKind.TEXT),
    "dataset_revision": FilterField(VersionRow.dataset_revision, FieldKind.TEXT),
    "parent_version": FilterField(VersionRow.parent_version, FieldKind.TEXT),
    "trigger_words": repeated_field(lambda word: JsonListHas(VersionRow.trigger_words, word)),
    "create_time": FilterField(VersionRow.create_time, FieldKind.TIME),
    "creator": FilterField(VersionRow.creator, FieldKind.TEXT),
}


class SqlVersionRecords:
    """VersionRecords over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: LoraKey, number: int, *, details: bool = False) -> LoraVersion:
        name = f"{key}/versions/{number}"
        rows = (await self._session.execute(_named().where(VersionRow.name == name))).all()
        if not rows:
            raise NotFound.of("LoraVersion", name)
        found = await self._session.get(VersionDetailsRow, rows[0][0].id) if details else None
        return (await self._with_aliases(rows, found))[0]

    async def get_all(
        self, keys: Collection[tuple[LoraKey, int]]
    ) -> Mapping[tuple[LoraKey, int], LoraVersion]:
        names = [f"{key}/versions/{number}" for key, number in keys]
        rows = (await self._session.execute(_named().where(VersionRow.name.in_(names)))).all()
        return {(version.key, version.version): version for version in await self._with_aliases(rows)}

    async def ancestors(
        self, version: LoraVersion, *, brands: Brands, depth: int, limit: int
    ) -> Sequence[tuple[int, LoraVersion]]:
        return await self._walk(version, brands, depth, limit, up=True)

    async def descendants(
        self, version: LoraVersion, *, brands: Brands, depth: int, limit: int
    ) -> Sequence[tuple[int, LoraVersion]]:
        return await self._walk(version, brands, depth, limit, up=False)

    async def add(self, version: LoraVersion) -> None:
        lora = select(LoraRow.id).where(LoraRow.name == str(version.key)).scalar_subquery()
        statement = insert(VersionRow).values(lora=lora, **_values(version))
        row_id, lora_id = (
            await self._session.execute(statement.returning(VersionRow.id, VersionRow.lora))
        ).one()
        details = {
            "version": row_id,
            "modules": [[module.module, module.rank, module.alpha] for module in version.modules],
            "file_metadata": dict(version.file_metadata),
            "training_spec_json": version.origin.training_spec_json,
            "origin_details": write_details(version.origin),
        }
        await self._session.execute(insert(VersionDetailsRow).values(**details))
        await self._tag(lora_id, version)

    async def correct(self, version: LoraVersion) -> None:
        lora = select(LoraRow.id).where(LoraRow.name == str(version.key)).scalar_subquery()
        statement = update(VersionRow).where(VersionRow.lora == lora, VersionRow.version == version.version)
        corrected = {
            "description": version.description,
            "tags": list(version.tags),
            "license": version.license,
            "etag": version.etag,
        }
        result = await self._session.execute(
            statement.values(**corrected)
            .returning(VersionRow.lora)
            .execution_options(synchronize_session=False)
        )
        lora_id = result.scalar_one()
        here = (VersionTagRow.lora == lora_id) & (VersionTagRow.version == version.version)
        await self._session.execute(delete(VersionTagRow).where(here))
        await self._tag(lora_id, version)

    async def list(self, key: LoraKey, query: ListQuery) -> Page[LoraVersion]:
        row_id = await self._session.scalar(select(LoraRow.id).where(LoraRow.name == str(key)))
        if row_id is None:
            raise NotFound.of("Lora", str(key))
        page = await list_rows(
            self._session,
            select(VersionRow).where(VersionRow.lora == row_id),
            {**_FIELDS, "tags": _tags_of(row_id)},
            query,
            scope=("versions", str(key)),
            order=("version desc", "version"),
            weigh=_weigh,
        )
        named: Any = [(row, key.brand, key.lora) for row in page.items]
        return Page(await self._with_aliases(named), page.next_page_token)

    async def _walk(
        self, start: LoraVersion, brands: Brands, depth: int, limit: int, *, up: bool
    ) -> Sequence[tuple[int, LoraVersion]]:
        visible = true() if brands is None else LoraRow.brand_id.in_(sorted(brands))
        first = select(literal(start.name, String).label("name"), literal(0).label("distance"))
        walk = first.cte("walk", recursive=True)
        found, seen = (
            (VersionRow.parent_version, VersionRow.name)
            if up
            else (VersionRow.name, VersionRow.parent_version)
        )
        step = (
            select(found, walk.c.distance + 1)
            .join(walk, seen == walk.c.name)
            .join(LoraRow, LoraRow.id == VersionRow.lora)
            .where(walk.c.distance < depth, VersionRow.parent_version != "", visible)
        )
        # UNION, not UNION ALL: parents are claims, and two versions might claim each other.
        walk = walk.union(step)
        rows = (
            await self._session.execute(
                _named()
                .add_columns(walk.c.distance)
                .join(walk, walk.c.name == VersionRow.name)
                .where(walk.c.distance > 0, visible)
                .order_by(walk.c.distance, VersionRow.id)
                .limit(limit)
            )
        ).all()
        versions = await self._with_aliases([row[:3] for row in rows])
        return [(row[3], version) for row, version in zip(rows, versions, strict=True)]

    async def _tag(self, lora_id: int, version: LoraVersion) -> None:
        if version.tags:
            tags = [
                {"lora": lora_id, "tag": tag, "version": version.version}
                for tag in dict.fromkeys(version.tags)
            ]
            await self._session.execute(insert(VersionTagRow), tags)

    async def _with_aliases(
        self, rows: Sequence[Any], details: VersionDetailsRow | None = None
    ) -> Sequence[LoraVersion]:
        aliases: dict[tuple[int, int], list[str]] = {}
        loras = {row[0].lora for row in rows}
        # A LoRA has few aliases and may have many versions: its aliases are read whole.
        found = await self._session.execute(
            select(AliasRow.lora, AliasRow.version, AliasRow.alias)
            .where(AliasRow.lora.in_(loras))
            .order_by(AliasRow.alias)
        )
        for lora, version, alias in found:
            aliases.setdefault((lora, version), []).append(alias)
        return [
            _version(row, LoraKey(brand, lora), aliases.get((row.lora, row.version), ()), details)
            for row, brand, lora in rows
        ]


def _tags_of(lora_id: int) -> FilterField:
    # Bounded by the LoRA twice: a tag that half of all LoRAs have costs no more than one of this LoRA.
    tags = select(VersionTagRow.version).where(VersionTagRow.lora == lora_id)
    return repeated_field(lambda tag: VersionRow.version.in_(tags.where(VersionTagRow.tag == tag)))


def _named() -> Any:
    return select(VersionRow, LoraRow.brand_id, LoraRow.lora_id).join(LoraRow, LoraRow.id == VersionRow.lora)


def _weigh(row: VersionRow) -> int:
    texts = (row.description, row.license, *row.tags, *row.trigger_words)
    return 1500 + text_bytes(*texts) + 200 * len(row.previews) + 80 * len(row.evaluation)


def _values(version: LoraVersion) -> dict[str, Any]:
    origin = version.origin
    return {
        "version": version.version,
        "name": version.name,
        "sha256": version.file.sha256,
        "size_bytes": version.file.size_bytes,
        "media_type": version.file.media_type,
        "format": version.format.value,
        "family": version.family.value,
        "base_model": base_model_name(version.base_model_id) if version.base_model_id else "",
        "base_model_sha256": version.base_model_sha256,
        "rank": version.rank,
        "components": list(version.components),
        "trigger_words": list(version.trigger_words),
        "training_job": origin.training_job,
        "dataset_revision": origin.dataset_revision,
        "dataset_sha256": origin.dataset_sha256,
        "parent_version": str(origin.parent_version) if origin.parent_version else "",
        "tags": list(version.tags),
        "description": version.description,
        "license": version.license,
        "evaluation": dict(version.evaluation),
        "previews": [write_file(file) for file in version.previews],
        "creator": version.creator,
        "create_time": version.create_time,
        "etag": version.etag,
    }


def _version(
    row: VersionRow, key: LoraKey, aliases: Sequence[str], details: VersionDetailsRow | None
) -> LoraVersion:
    return LoraVersion(
        key=key,
        version=row.version,
        file=StoredFile(sha256=row.sha256, size_bytes=row.size_bytes, media_type=row.media_type),
        format=LoraFormat(row.format),
        family=ModelFamily(row.family),
        base_model_id=row.base_model.removeprefix("baseModels/"),
        base_model_sha256=row.base_model_sha256,
        rank=row.rank,
        components=tuple(row.components),
        trigger_words=tuple(row.trigger_words),
        origin=LoraOrigin(
            training_job=row.training_job,
            dataset_revision=row.dataset_revision,
            dataset_sha256=row.dataset_sha256,
            parent_version=parse_version_name(row.parent_version),
            training_spec_json=details.training_spec_json if details else "",
            **read_details(details.origin_details if details else {}),
        ),
        tags=tuple(row.tags),
        description=row.description,
        license=row.license,
        evaluation=row.evaluation,
        previews=tuple(read_file(file) for file in row.previews),
        creator=row.creator,
        create_time=row.create_time,
        etag=row.etag,
        aliases=tuple(aliases),
        modules=tuple(
            ModuleRank(module=module, rank=rank, alpha=alpha) for module, rank, alpha in details.modules
        )
        if details
        else (),
        file_metadata=details.file_metadata if details else {},
    )
