# ruff: noqa: N802 -- names and descriptions are those of the .proto.
"""The RPC methods: convert, call, convert. Who may call what is settled before (servicekit.interceptors)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc, resources_pb2
from servicekit.drain import Drain
from servicekit.errors import InvalidArgument
from servicekit.identity import current_principal
from servicekit.text_rules import refuse_nul
from services.registry import convert, convert_answers, convert_parts
from services.registry.domain import BaseModel
from services.registry.service import RegistryService
from services.registry.service_versions import DEFAULT_EXPIRY_SECONDS, UploadHeader

# A file that is registered is named by its digest alone, and the store does not know whose it is: only those
# who may see every brand, such as the workers that have made it, may name one. All others upload.
ADMINISTRATORS_ONLY: Final = frozenset(
    {
        "CreateBrand",
        "DeleteBrand",
        "CreateBaseModel",
        "UpdateBaseModel",
        "DeleteBaseModel",
        "RegisterVersion",
    }
)


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """brandloom.api.registry.v1.RegistryService over the use cases."""

    def __init__(self, service: RegistryService, drain: Drain) -> None:
        self._service = service
        self._drain = drain

    async def CreateBrand(
        self, request: registry_pb2.CreateBrandRequest, context: Any
    ) -> resources_pb2.Brand:
        refuse_nul(request)
        brand = await self._service.brands.create(
            request.brand_id,
            display_name=request.brand.display_name,
            description=request.brand.description,
            labels=request.brand.labels,
            request=convert.request_id(request),
        )
        return convert.brand_to_proto(brand)

    async def GetBrand(self, request: registry_pb2.GetBrandRequest, context: Any) -> resources_pb2.Brand:
        return convert.brand_to_proto(await self._service.brands.get(convert.brand_id(request.name)))

    async def ListBrands(
        self, request: registry_pb2.ListBrandsRequest, context: Any
    ) -> registry_pb2.ListBrandsResponse:
        refuse_nul(request)
        page = await self._service.brands.list(convert.list_query(request))
        brands = [convert.brand_to_proto(brand) for brand in page.items]
        return registry_pb2.ListBrandsResponse(brands=brands, next_page_token=page.next_page_token)

    async def UpdateBrand(
        self, request: registry_pb2.UpdateBrandRequest, context: Any
    ) -> resources_pb2.Brand:
        refuse_nul(request)
        brand_id = convert.brand_id(request.brand.name, "brand.name")
        values = convert.masked(request.brand, request.update_mask, convert.BRAND_FIELDS)
        return convert.brand_to_proto(await self._service.brands.update(brand_id, values, request.brand.etag))

    async def DeleteBrand(self, request: registry_pb2.DeleteBrandRequest, context: Any) -> Empty:
        await self._service.brands.delete(convert.brand_id(request.name), request.etag)
        return Empty()

    async def CreateBaseModel(
        self, request: registry_pb2.CreateBaseModelRequest, context: Any
    ) -> resources_pb2.BaseModel:
        refuse_nul(request)
        base = await self._service.base_models.create(
            request.base_model_id,
            family=convert.family_from_proto(request.base_model.family),
            source=request.base_model.source,
            sha256=request.base_model.sha256,
            display_name=request.base_model.display_name,
            resolution=request.base_model.resolution,
            license=request.base_model.license,
            description=request.base_model.description,
            request=convert.request_id(request),
        )
        return convert.base_model_to_proto(base)

    async def GetBaseModel(
        self, request: registry_pb2.GetBaseModelRequest, context: Any
    ) -> resources_pb2.BaseModel:
        base = await self._service.base_models.get(convert.base_model_id(request.name))
        return convert.base_model_to_proto(_shown(base))

    async def ListBaseModels(
        self, request: registry_pb2.ListBaseModelsRequest, context: Any
    ) -> registry_pb2.ListBaseModelsResponse:
        refuse_nul(request)
        page = await self._service.base_models.list(convert.list_query(request))
        base_models = [convert.base_model_to_proto(_shown(base)) for base in page.items]
        return registry_pb2.ListBaseModelsResponse(
            base_models=base_models, next_page_token=page.next_page_token
        )

    async def UpdateBaseModel(
        self, request: registry_pb2.UpdateBaseModelRequest, context: Any
    ) -> resources_pb2.BaseModel:
        refuse_nul(request)
        base_model_id = convert.base_model_id(request.base_model.name, "base_model.name")
        values = convert.masked(request.base_model, request.update_mask, convert.BASE_MODEL_FIELDS)
        base = await self._service.base_models.update(base_model_id, values, request.base_model.etag)
        return convert.base_model_to_proto(base)

    async def DeleteBaseModel(self, request: registry_pb2.DeleteBaseModelRequest, context: Any) -> Empty:
        await self._service.base_models.delete(convert.base_model_id(request.name), request.etag)
        return Empty()

    async def CreateLora(self, request: registry_pb2.CreateLoraRequest, context: Any) -> resources_pb2.Lora:
        refuse_nul(request)
        lora = await self._service.loras.create(
            convert.lora_key(f"{request.parent}/loras/{request.lora_id}", "lora_id"),
            display_name=request.lora.display_name,
            description=request.lora.description,
            tags=request.lora.tags,
            request=convert.request_id(request),
        )
        return convert.lora_to_proto(lora)

    async def GetLora(self, request: registry_pb2.GetLoraRequest, context: Any) -> resources_pb2.Lora:
        return convert.lora_to_proto(await self._service.loras.get(convert.lora_key(request.name)))

    async def ListLoras(
        self, request: registry_pb2.ListLorasRequest, context: Any
    ) -> registry_pb2.ListLorasResponse:
        refuse_nul(request)
        brand_id = convert.brand_id(request.parent, "parent")
        page = await self._service.loras.list(brand_id, convert.list_query(request))
        loras = [convert.lora_to_proto(lora) for lora in page.items]
        return registry_pb2.ListLorasResponse(loras=loras, next_page_token=page.next_page_token)

    async def SearchLoras(
        self, request: registry_pb2.SearchLorasRequest, context: Any
    ) -> registry_pb2.SearchLorasResponse:
        refuse_nul(request)
        page = await self._service.loras.search(request.query, convert.list_query(request))
        loras = [convert.lora_to_proto(lora) for lora in page.items]
        return registry_pb2.SearchLorasResponse(loras=loras, next_page_token=page.next_page_token)

    async def UpdateLora(self, request: registry_pb2.UpdateLoraRequest, context: Any) -> resources_pb2.Lora:
        refuse_nul(request)
        key = convert.lora_key(request.lora.name, "lora.name")
        values = convert.masked(request.lora, request.update_mask, convert.LORA_FIELDS)
        return convert.lora_to_proto(await self._service.loras.update(key, values, request.lora.etag))

    async def DeleteLora(self, request: registry_pb2.DeleteLoraRequest, context: Any) -> Empty:
        await self._service.loras.delete(convert.lora_key(request.name), request.etag, force=request.force)
        return Empty()

    async def UploadVersion(
        self, request_iterator: AsyncIterator[registry_pb2.UploadVersionRequest], context: Any
    ) -> resources_pb2.LoraVersion:
        header = _upload_header(await anext(request_iterator, None))
        version = await self._service.versions.upload(header, _chunks(request_iterator))
        return convert.version_to_proto(version)

    async def RegisterVersion(
        self, request: registry_pb2.RegisterVersionRequest, context: Any
    ) -> resources_pb2.LoraVersion:
        refuse_nul(request)
        if not request.version.HasField("artifact"):
            raise InvalidArgument.of(
                "version.artifact", "is required: the file must be in the artifact store"
            )
        version = await self._service.versions.register(
            convert.lora_key(request.parent, "parent"),
            convert_parts.file_from_proto(request.version.artifact, "version.artifact"),
            convert.draft_from_proto(request.version, "version"),
            convert.request_id(request),
        )
        return convert.version_to_proto(version)

    async def GetLoraVersion(
        self, request: registry_pb2.GetLoraVersionRequest, context: Any
    ) -> resources_pb2.LoraVersion:
        return convert.version_to_proto(await self._service.versions.get(convert.version_key(request.name)))

    async def ListLoraVersions(
        self, request: registry_pb2.ListLoraVersionsRequest, context: Any
    ) -> registry_pb2.ListLoraVersionsResponse:
        refuse_nul(request)
        key = convert.lora_key(request.parent, "parent")
        page = await self._service.versions.list(key, convert.list_query(request))
        versions = [convert.version_to_proto(version) for version in page.items]
        return registry_pb2.ListLoraVersionsResponse(versions=versions, next_page_token=page.next_page_token)

    async def UpdateLoraVersion(
        self, request: registry_pb2.UpdateLoraVersionRequest, context: Any
    ) -> resources_pb2.LoraVersion:
        refuse_nul(request)
        key = convert.version_key(request.version.name, "version.name")
        values = convert.masked(request.version, request.update_mask, convert.VERSION_FIELDS)
        return convert.version_to_proto(
            await self._service.versions.correct(key, values, request.version.etag)
        )

    async def DownloadVersion(
        self, request: registry_pb2.DownloadVersionRequest, context: Any
    ) -> AsyncIterator[artifact_pb2.FileChunk]:
        key, (file, index) = convert.version_key(request.name), convert.version_file(request)
        download = await self._service.versions.download(key, file, index)
        artifact = convert_parts.file_to_proto(download.file)
        yield artifact_pb2.FileChunk(artifact=artifact, file_name=download.file_name)
        async for data in download.chunks:
            yield artifact_pb2.FileChunk(data=data)

    async def GetDownloadUrl(
        self, request: registry_pb2.GetDownloadUrlRequest, context: Any
    ) -> registry_pb2.GetDownloadUrlResponse:
        seconds = request.expires_seconds or DEFAULT_EXPIRY_SECONDS
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        url, version = await self._service.versions.download_url(convert.version_key(request.name), seconds)
        return registry_pb2.GetDownloadUrlResponse(
            url=url,
            expire_time=convert_parts.timestamp(expires),
            artifact=convert_parts.file_to_proto(version.file),
        )

    async def SetAlias(self, request: registry_pb2.SetAliasRequest, context: Any) -> resources_pb2.Lora:
        key = convert.lora_key(request.lora, "lora")
        lora = await self._service.loras.set_alias(key, request.alias, request.version, request.etag)
        return convert.lora_to_proto(lora)

    async def DeleteAlias(self, request: registry_pb2.DeleteAliasRequest, context: Any) -> resources_pb2.Lora:
        key = convert.lora_key(request.lora, "lora")
        return convert.lora_to_proto(await self._service.loras.delete_alias(key, request.alias, request.etag))

    async def ResolveStack(
        self, request: registry_pb2.ResolveStackRequest, context: Any
    ) -> registry_pb2.ResolveStackResponse:
        brand_id = convert.brand_id(request.parent, "parent")
        base_model_id = convert.base_model_id(request.base_model, "base_model")
        stack = await self._service.stacks.resolve(brand_id, request.references, base_model_id)
        shown = replace(stack, base=_shown(stack.base) if stack.base else None)
        return convert_answers.stack_to_proto(shown)

    async def GetLineage(
        self, request: registry_pb2.GetLineageRequest, context: Any
    ) -> registry_pb2.GetLineageResponse:
        lineage = await self._service.lineage.walk(convert.version_key(request.name), request.depth)
        return convert_answers.lineage_to_proto(lineage)

    async def WatchChanges(
        self, request: registry_pb2.WatchChangesRequest, context: Any
    ) -> AsyncIterator[registry_pb2.Change]:
        brand_id = convert.brand_id(request.parent, "parent") if request.parent else ""
        changes = await self._service.changes.open(brand_id, request.after_sequence)
        # Tells the caller that from here on nothing is missed, even while nothing happens.
        await context.send_initial_metadata(())
        async for change in self._drain.until_begun(changes):
            yield convert_answers.change_to_proto(change)


def _shown(base: BaseModel) -> BaseModel:
    """The base model as the caller may see it: paths on the services' hosts are for administrators."""
    return base if current_principal().administrator else replace(base, source="")


def _upload_header(message: registry_pb2.UploadVersionRequest | None) -> UploadHeader:
    if message is None or message.WhichOneof("part") != "header":
        raise InvalidArgument.of("header", "the first message must carry the header")
    header = message.header
    refuse_nul(header)
    return UploadHeader(
        key=convert.lora_key(header.parent, "header.parent"),
        draft=convert.draft_from_proto(header.version, "header.version"),
        file_name=header.file_name,
        sha256=header.sha256,
        size_bytes=header.size_bytes,
        request=convert.request_id(header),
    )


async def _chunks(messages: AsyncIterator[registry_pb2.UploadVersionRequest]) -> AsyncIterator[bytes]:
    async for message in messages:
        if message.WhichOneof("part") != "chunk":
            raise InvalidArgument.of("header", "only the first message may carry a header")
        yield message.chunk
