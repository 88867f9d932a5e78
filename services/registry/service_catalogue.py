"""Use cases of brands and base models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from servicekit.clock import Clock
from servicekit.errors import Aborted, FailedPrecondition, InvalidArgument
from servicekit.identity import current_principal
from servicekit.ids import new_id
from services.registry.domain import (
    BaseModel,
    Brand,
    ChangeKind,
    ListQuery,
    ModelFamily,
    Page,
    RequestId,
    base_model_name,
)
from services.registry.ports import RecordStore

_BASE_MODELS = "baseModels"


def check_etag(given: str, current: str, name: str) -> None:
    """Aborted when an etag was given and is not the resource's current one."""
    if given and given != current:
        raise Aborted.stale_etag(name)


class BrandCases:
    """Brands: the tenants of the installation."""

    def __init__(self, store: RecordStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        brand_id: str,
        *,
        display_name: str,
        description: str,
        labels: Mapping[str, str],
        request: RequestId,
    ) -> Brand:
        """The new brand; AlreadyExists when the id is taken by another request."""
        now = self._clock.now()
        brand = Brand(
            brand_id=brand_id,
            display_name=display_name,
            description=description,
            labels=dict(labels),
            create_time=now,
            update_time=now,
            etag=new_id(),
        )
        async with self._store.transaction() as records:
            if await records.requests.claim(brand.name, request) is not None:
                return await records.brands.get(brand_id)
            await records.brands.add(brand)
            await records.requests.answer(brand.name, request, brand.name)
        return brand

    async def get(self, brand_id: str) -> Brand:
        """NotFound when there is none."""
        async with self._store.snapshot() as records:
            return await records.brands.get(brand_id)

    async def list(self, query: ListQuery) -> Page[Brand]:
        """The caller's brands."""
        principal = current_principal()
        async with self._store.snapshot() as records:
            return await records.brands.list(principal.brands, query)

    async def update(self, brand_id: str, values: Mapping[str, Any], etag: str) -> Brand:
        """The brand with the given fields replaced."""
        async with self._store.transaction() as records:
            brand = await records.brands.get(brand_id, lock=True)
            check_etag(etag, brand.etag, brand.name)
            brand = replace(brand, **values, update_time=self._clock.now(), etag=new_id())
            await records.brands.replace(brand)
        return brand

    async def delete(self, brand_id: str, etag: str) -> None:
        """FailedPrecondition while the brand has LoRAs."""
        async with self._store.transaction() as records:
            brand = await records.brands.get(brand_id, lock=True)
            check_etag(etag, brand.etag, brand.name)
            if await records.loras.exist(brand_id):
                raise FailedPrecondition(
                    f"{brand.name} still has LoRAs; delete them first",
                    reason="BRAND_NOT_EMPTY",
                    metadata={"resource_name": brand.name},
                )
            await records.brands.delete(brand_id)
            await records.changes.append_brand(ChangeKind.BRAND_DELETED, brand_id)


class BaseModelCases:
    """Base models: everybody may read them, administrators register them."""

    def __init__(self, store: RecordStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        base_model_id: str,
        *,
        family: ModelFamily,
        source: str,
        sha256: str,
        request: RequestId,
        **described: Any,
    ) -> BaseModel:
        """The new base model; AlreadyExists when the id is taken by another request."""
        now = self._clock.now()
        base = BaseModel(
            base_model_id=base_model_id,
            family=family,
            source=source,
            sha256=sha256,
            create_time=now,
            update_time=now,
            etag=new_id(),
            **described,
        )
        async with self._store.transaction() as records:
            if await records.requests.claim(_BASE_MODELS, request) is not None:
                return await records.base_models.get(base_model_id)
            await records.base_models.add(base)
            await records.requests.answer(_BASE_MODELS, request, base.name)
        return base

    async def get(self, base_model_id: str) -> BaseModel:
        """NotFound when there is none."""
        async with self._store.snapshot() as records:
            return await records.base_models.get(base_model_id)

    async def list(self, query: ListQuery) -> Page[BaseModel]:
        """All base models."""
        async with self._store.snapshot() as records:
            return await records.base_models.list(query)

    async def update(self, base_model_id: str, values: Mapping[str, Any], etag: str) -> BaseModel:
        """The base model with these fields replaced; InvalidArgument when family or digest would change."""
        async with self._store.transaction() as records:
            base = await records.base_models.get(base_model_id, lock=True)
            check_etag(etag, base.etag, base.name)
            for fixed in ("family", "sha256"):
                if fixed in values and values[fixed] != getattr(base, fixed):
                    raise InvalidArgument.of(
                        f"base_model.{fixed}",
                        "cannot change: register the other files as a new base model",
                        reason="IMMUTABLE_FIELD",
                    )
            base = replace(base, **values, update_time=self._clock.now(), etag=new_id())
            await records.base_models.replace(base)
            await records.changes.append_base_model(ChangeKind.BASE_MODEL_UPDATED, base_model_id)
        return base

    async def delete(self, base_model_id: str, etag: str) -> None:
        """FailedPrecondition while a LoRA version names it."""
        async with self._store.transaction() as records:
            base = await records.base_models.get(base_model_id, lock=True)
            check_etag(etag, base.etag, base.name)
            if await records.base_models.in_use(base_model_id):
                raise FailedPrecondition(
                    f"{base.name} is the base of LoRA versions",
                    reason="BASE_MODEL_IN_USE",
                    metadata={"resource_name": base_model_name(base_model_id)},
                )
            await records.base_models.delete(base_model_id)
            await records.changes.append_base_model(ChangeKind.BASE_MODEL_DELETED, base_model_id)
