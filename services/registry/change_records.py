"""The log of changes and the answered requests in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.clock import Clock
from servicekit.errors import AlreadyExists
from servicekit.request_ids import remember
from services.registry.domain import (
    Change,
    ChangeKind,
    LoraKey,
    RequestId,
    base_model_name,
    brand_name,
)
from services.registry.ports import Brands
from services.registry.tables import ChangeCounterRow, ChangeRow, RequestIdRow

_NO_BRAND = ""
"""In rows of base models, whose id is where those of LoRAs are."""


class SqlChangeRecords:
    """ChangeRecords over one session."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def append(self, kind: ChangeKind, lora: LoraKey, *, version: int = 0, alias: str = "") -> None:
        await self._append(kind, lora.brand, lora.lora, version, alias)

    async def append_brand(self, kind: ChangeKind, brand_id: str) -> None:
        await self._append(kind, brand_id, "", 0, "")

    async def append_base_model(self, kind: ChangeKind, base_model_id: str) -> None:
        await self._append(kind, _NO_BRAND, base_model_id, 0, "")

    async def _append(self, kind: ChangeKind, brand_id: str, thing_id: str, version: int, alias: str) -> None:
        # The row stays locked until the commit: no later number can become visible before this one.
        counted = (
            update(ChangeCounterRow)
            .values(value=ChangeCounterRow.value + 1)
            .returning(ChangeCounterRow.value)
        )
        result = await self._session.execute(counted.execution_options(synchronize_session=False))
        row = {
            "sequence": result.scalar_one(),
            "time": self._clock.now(),
            "kind": kind.value,
            "brand_id": brand_id,
            "lora_id": thing_id,
            "version": version,
            "alias": alias,
        }
        await self._session.execute(insert(ChangeRow).values(**row))

    async def last_sequence(self) -> int:
        return await self._session.scalar(select(ChangeCounterRow.value)) or 0

    async def after(self, sequence: int, brands: Brands, *, limit: int) -> Sequence[Change]:
        statement = select(ChangeRow).where(ChangeRow.sequence > sequence)
        if brands is not None:
            statement = statement.where(ChangeRow.brand_id.in_([_NO_BRAND, *sorted(brands)]))
        rows = await self._session.scalars(statement.order_by(ChangeRow.sequence).limit(limit))
        return [_change(row) for row in rows]


class SqlRequestRecords:
    """RequestRecords over one session."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def find(self, scope: str, request: RequestId) -> str | None:
        found = await self._session.execute(
            select(RequestIdRow.body_digest, RequestIdRow.response_name).where(
                RequestIdRow.scope == scope, RequestIdRow.request_id == request.value
            )
        )
        first: Any = found.one_or_none()
        if first is None:
            return None
        if first.body_digest != request.digest:
            raise AlreadyExists(
                f"request id {request.value} was used before, for another request",
                reason="REQUEST_ID_REUSED",
                metadata={"request_id": request.value, "resource_name": first.response_name},
            )
        return str(first.response_name)

    async def claim(self, scope: str, request: RequestId) -> str | None:
        return await remember(
            self._session,
            RequestIdRow,
            scope=scope,
            request_id=request.value,
            body_digest=request.digest,
            response_name="",
            now=self._clock.now(),
        )

    async def answer(self, scope: str, request: RequestId, name: str) -> None:
        statement = update(RequestIdRow).where(
            RequestIdRow.scope == scope, RequestIdRow.request_id == request.value
        )
        await self._session.execute(
            statement.values(response_name=name).execution_options(synchronize_session=False)
        )


def _change(row: ChangeRow) -> Change:
    kind = ChangeKind(row.kind)
    lora: LoraKey | None = None
    resource = ""
    if row.brand_id == _NO_BRAND:
        resource = base_model_name(row.lora_id)
    elif kind is ChangeKind.BRAND_DELETED:
        resource = brand_name(row.brand_id)
    else:
        lora = LoraKey(row.brand_id, row.lora_id)
    return Change(
        sequence=row.sequence,
        time=row.time,
        kind=kind,
        lora=lora,
        version=row.version,
        alias=row.alias,
        resource=resource,
    )
