"""Brands and base models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from brandloom import _names
from brandloom._calls import given, mask, new_request_id
from brandloom._convert.fields import enum_to_number, from_proto
from brandloom._transport import Link
from brandloom.api.common.v1 import family_pb2
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from brandloom.types.common import ModelFamily
from brandloom.types.registry import BaseModel, Brand

_FAMILIES = family_pb2.ModelFamily.DESCRIPTOR


class AsyncBrands:
    """The roots of tenancy."""

    def __init__(self, registry: Link) -> None:
        self._registry = registry

    async def create(
        self,
        brand_id: str,
        *,
        display_name: str = "",
        description: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Brand:
        """Makes `brands/{brand_id}`; AlreadyExists when it is taken."""
        brand = resources_pb2.Brand(display_name=display_name, description=description, labels=labels)
        request = registry_pb2.CreateBrandRequest(
            brand_id=brand_id, brand=brand, request_id=request_id or new_request_id()
        )
        return from_proto(Brand, await self._registry.call("CreateBrand", request))

    async def get(self, brand: str | Brand) -> Brand:
        """The brand as it is now."""
        request = registry_pb2.GetBrandRequest(name=_names.brand(brand))
        return from_proto(Brand, await self._registry.call("GetBrand", request))

    async def list(self, *, filter: str = "", order_by: str = "") -> AsyncIterator[Brand]:  # noqa: A002
        """Brands that the caller may use."""
        request = registry_pb2.ListBrandsRequest(filter=filter, order_by=order_by)
        async for message in self._registry.items("ListBrands", request, "brands"):
            yield from_proto(Brand, message)

    async def update(
        self,
        brand: str | Brand,
        *,
        display_name: str | None = None,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        etag: str = "",
    ) -> Brand:
        """Changes what is given; with an etag only when nobody else has changed it."""
        changes = given(display_name=display_name, description=description, labels=labels)
        message = resources_pb2.Brand(name=_names.brand(brand), etag=etag, **changes)
        request = registry_pb2.UpdateBrandRequest(brand=message, update_mask=mask(changes))
        return from_proto(Brand, await self._registry.call("UpdateBrand", request))

    async def delete(self, brand: str | Brand, *, etag: str = "") -> None:
        """Deletes it; FailedPrecondition while it has LoRAs."""
        await self._registry.call(
            "DeleteBrand", registry_pb2.DeleteBrandRequest(name=_names.brand(brand), etag=etag)
        )


class AsyncBaseModels:
    """Frozen models that LoRAs are trained on and served with."""

    def __init__(self, registry: Link) -> None:
        self._registry = registry

    async def create(
        self,
        base_model_id: str,
        *,
        family: ModelFamily,
        source: str,
        sha256: str,
        resolution: int = 0,
        display_name: str = "",
        license: str = "",  # noqa: A002
        description: str = "",
        request_id: str | None = None,
    ) -> BaseModel:
        """Registers a model; `brandloom.base_model_digest` computes the sha256 of one on this machine."""
        model = resources_pb2.BaseModel(
            family=enum_to_number(_FAMILIES, family),
            source=source,
            sha256=sha256,
            resolution=resolution,
            display_name=display_name,
            license=license,
            description=description,
        )
        request = registry_pb2.CreateBaseModelRequest(
            base_model_id=base_model_id, base_model=model, request_id=request_id or new_request_id()
        )
        return from_proto(BaseModel, await self._registry.call("CreateBaseModel", request))

    async def get(self, base_model: str | BaseModel) -> BaseModel:
        """The base model as it is now."""
        request = registry_pb2.GetBaseModelRequest(name=_names.base_model(base_model))
        return from_proto(BaseModel, await self._registry.call("GetBaseModel", request))

    async def list(self, *, filter: str = "", order_by: str = "") -> AsyncIterator[BaseModel]:  # noqa: A002
        """All base models."""
        request = registry_pb2.ListBaseModelsRequest(filter=filter, order_by=order_by)
        async for message in self._registry.items("ListBaseModels", request, "base_models"):
            yield from_proto(BaseModel, message)

    async def update(
        self,
        base_model: str | BaseModel,
        *,
        display_name: str | None = None,
        source: str | None = None,
        license: str | None = None,  # noqa: A002
        description: str | None = None,
        etag: str = "",
    ) -> BaseModel:
        """Changes what is given; family and digest never change."""
        changes = given(display_name=display_name, source=source, license=license, description=description)
        # The service checks the message as a whole, whatever its mask says: what must be there comes along.
        now = await self.get(base_model)
        fixed = {"family": enum_to_number(_FAMILIES, now.family), "source": now.source, "sha256": now.sha256}
        message = resources_pb2.BaseModel(name=now.name, etag=etag, **{**fixed, **changes})
        request = registry_pb2.UpdateBaseModelRequest(base_model=message, update_mask=mask(changes))
        return from_proto(BaseModel, await self._registry.call("UpdateBaseModel", request))

    async def delete(self, base_model: str | BaseModel, *, etag: str = "") -> None:
        """Deletes it; FailedPrecondition while a version names it."""
        request = registry_pb2.DeleteBaseModelRequest(name=_names.base_model(base_model), etag=etag)
        await self._registry.call("DeleteBaseModel", request)
