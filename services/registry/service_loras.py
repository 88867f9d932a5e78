"""Use cases of LoRAs and their aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from servicekit.clock import Clock
from servicekit.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from servicekit.identity import current_principal
from servicekit.ids import new_id
from services.registry.domain import LATEST, ChangeKind, ListQuery, Lora, LoraKey, Page, RequestId, brand_name
from services.registry.domain_search_words import words_of
from services.registry.ports import Records, RecordStore
from services.registry.service_catalogue import check_etag


async def add_lora(records: Records, lora: Lora) -> bool:
    """Adds a LoRA to an existing brand and says so in the log; False when it is there already."""
    await records.brands.get(lora.key.brand, keep=True)
    added = await records.loras.add(lora)
    if added:
        await records.changes.append(ChangeKind.LORA_CREATED, lora.key)
    return added


class LoraCases:
    """LoRAs: named lines of versions, and the aliases that point into them."""

    def __init__(self, store: RecordStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, key: LoraKey, *, display_name: str, description: str, tags: Sequence[str], request: RequestId
    ) -> Lora:
        """The new LoRA without versions; AlreadyExists when the id is taken by another request."""
        now = self._clock.now()
        lora = Lora(
            key=key,
            display_name=display_name,
            description=description,
            tags=tuple(tags),
            create_time=now,
            update_time=now,
            etag=new_id(),
        )
        scope = brand_name(key.brand)
        async with self._store.transaction() as records:
            if await records.requests.claim(scope, request) is None:
                if not await add_lora(records, lora):
                    raise AlreadyExists.of("Lora", str(key))
                await records.requests.answer(scope, request, str(key))
            return await records.loras.get(key)

    async def get(self, key: LoraKey) -> Lora:
        """NotFound when there is none."""
        async with self._store.snapshot() as records:
            return await records.loras.get(key)

    async def list(self, brand_id: str, query: ListQuery) -> Page[Lora]:
        """The brand's LoRAs; NotFound when there is no such brand."""
        async with self._store.snapshot() as records:
            await records.brands.get(brand_id)
            return await records.loras.list(brand_id, query)

    async def search(self, text: str, query: ListQuery) -> Page[Lora]:
        """LoRAs of the caller's brands in which every word of `text` starts a word; all for no words."""
        principal = current_principal()
        async with self._store.snapshot() as records:
            return await records.loras.search(principal.brands, words_of(text), query)

    async def update(self, key: LoraKey, values: Mapping[str, Any], etag: str) -> Lora:
        """The LoRA with the given fields replaced."""
        async with self._store.transaction() as records:
            lora = await records.loras.get(key, lock=True)
            check_etag(etag, lora.etag, str(key))
            lora = replace(lora, **values, update_time=self._clock.now(), etag=new_id())
            await records.loras.replace(lora)
            await records.changes.append(ChangeKind.LORA_UPDATED, key)
        return lora

    async def delete(self, key: LoraKey, etag: str, *, force: bool) -> None:
        """FailedPrecondition while it has versions, unless forced. The files stay in the store."""
        async with self._store.transaction() as records:
            lora = await records.loras.get(key, lock=True)
            check_etag(etag, lora.etag, str(key))
            if lora.latest_version and not force:
                raise FailedPrecondition(
                    f"{key} has versions; use force to delete them too",
                    reason="LORA_NOT_EMPTY",
                    metadata={"resource_name": str(key), "latest_version": str(lora.latest_version)},
                )
            await records.loras.delete(key)
            await records.changes.append(ChangeKind.LORA_DELETED, key)

    async def set_alias(self, key: LoraKey, alias: str, version: int, etag: str) -> Lora:
        """Points the alias at a version; NotFound when there is no such version."""
        if alias == LATEST:
            raise InvalidArgument.of("alias", "`latest` always means the newest version and cannot be set")
        async with self._store.transaction() as records:
            lora = await records.loras.get(key, lock=True)
            check_etag(etag, lora.etag, str(key))
            await records.versions.get(key, version)
            if lora.aliases.get(alias) == version:
                return lora
            await records.loras.set_alias(key, alias, version)
            lora = await self._touch(records, replace(lora, aliases={**lora.aliases, alias: version}))
            await records.changes.append(ChangeKind.ALIAS_SET, key, version=version, alias=alias)
        return lora

    async def delete_alias(self, key: LoraKey, alias: str, etag: str) -> Lora:
        """NotFound when the LoRA has no such alias."""
        async with self._store.transaction() as records:
            lora = await records.loras.get(key, lock=True)
            check_etag(etag, lora.etag, str(key))
            if alias not in lora.aliases:
                raise NotFound.of("Alias", f"{key}@{alias}")
            left = {name: number for name, number in lora.aliases.items() if name != alias}
            await records.loras.delete_alias(key, alias)
            lora = await self._touch(records, replace(lora, aliases=left))
            await records.changes.append(ChangeKind.ALIAS_DELETED, key, alias=alias)
        return lora

    async def _touch(self, records: Records, lora: Lora) -> Lora:
        touched = replace(lora, update_time=self._clock.now(), etag=new_id())
        await records.loras.replace(touched)
        return touched
