"""LoRAs, their aliases, their versions and where these come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from brandloom import _arguments, _names
from brandloom._calls import given, mask, new_request_id
from brandloom._convert.fields import enum_to_number, from_proto, to_proto
from brandloom._download import save_stream
from brandloom._files import OnProgress, file_source, sha256_of
from brandloom._transport import Link
from brandloom._watch import follow
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from brandloom.types.registry import (
    BaseModel,
    Brand,
    Change,
    DownloadUrl,
    Lineage,
    Lora,
    LoraOrigin,
    LoraVersion,
    VersionFile,
)

_FILES: Final = registry_pb2.DESCRIPTOR.enum_types_by_name["VersionFile"]


class AsyncLoras:
    """Named lines of LoRA versions, and the aliases that point into them."""

    def __init__(self, registry: Link) -> None:
        self._registry = registry

    async def create(
        self,
        lora: str,
        *,
        display_name: str = "",
        description: str = "",
        tags: Sequence[str] = (),
        request_id: str | None = None,
    ) -> Lora:
        """Makes an empty LoRA (`acme/hero`); training and uploads make theirs themselves."""
        parent, _, lora_id = _names.lora(lora).partition("/loras/")
        message = resources_pb2.Lora(display_name=display_name, description=description, tags=tags)
        request = registry_pb2.CreateLoraRequest(
            parent=parent, lora_id=lora_id, lora=message, request_id=request_id or new_request_id()
        )
        return from_proto(Lora, await self._registry.call("CreateLora", request))

    async def get(self, lora: str | Lora) -> Lora:
        """The LoRA as it is now."""
        request = registry_pb2.GetLoraRequest(name=_names.lora(lora))
        return from_proto(Lora, await self._registry.call("GetLora", request))

    async def list(
        self,
        brand: str | Brand,
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[Lora]:
        """LoRAs of a brand."""
        request = registry_pb2.ListLorasRequest(parent=_names.brand(brand), filter=filter, order_by=order_by)
        async for message in self._registry.items("ListLoras", request, "loras"):
            yield from_proto(Lora, message)

    async def search(
        self,
        query: str = "",
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[Lora]:
        """LoRAs of all the caller's brands whose names, descriptions, tags or trigger words match."""
        request = registry_pb2.SearchLorasRequest(query=query, filter=filter, order_by=order_by)
        async for message in self._registry.items("SearchLoras", request, "loras"):
            yield from_proto(Lora, message)

    async def update(
        self,
        lora: str | Lora,
        *,
        display_name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        etag: str = "",
    ) -> Lora:
        """Changes what is given; with an etag only when nobody else has changed it."""
        changes = given(display_name=display_name, description=description, tags=tags)
        message = resources_pb2.Lora(name=_names.lora(lora), etag=etag, **changes)
        request = registry_pb2.UpdateLoraRequest(lora=message, update_mask=mask(changes))
        return from_proto(Lora, await self._registry.call("UpdateLora", request))

    async def delete(self, lora: str | Lora, *, force: bool = False, etag: str = "") -> None:
        """Deletes it; with `force` its versions and aliases too."""
        request = registry_pb2.DeleteLoraRequest(name=_names.lora(lora), etag=etag, force=force)
        await self._registry.call("DeleteLora", request)

    async def set_alias(
        self, lora: str | Lora, alias: str, version: int | LoraVersion, *, etag: str = ""
    ) -> Lora:
        """Points an alias such as `prod` to a version."""
        number = version if isinstance(version, int) else version.version
        request = registry_pb2.SetAliasRequest(lora=_names.lora(lora), alias=alias, version=number, etag=etag)
        return from_proto(Lora, await self._registry.call("SetAlias", request))

    async def delete_alias(self, lora: str | Lora, alias: str, *, etag: str = "") -> Lora:
        """Takes an alias away; its version stays."""
        request = registry_pb2.DeleteAliasRequest(lora=_names.lora(lora), alias=alias, etag=etag)
        return from_proto(Lora, await self._registry.call("DeleteAlias", request))

    async def watch(
        self, brand: str | Brand | None = None, *, after_sequence: int = -1
    ) -> AsyncIterator[Change]:
        """Changes after a number, then live, until the iteration is left; by default only from now on.

        A broken connection is made again and nothing is lost.
        """
        parent = _names.brand(brand) if brand else ""

        async def changes(after: int) -> AsyncIterator[Change]:
            request = registry_pb2.WatchChangesRequest(parent=parent, after_sequence=after)
            async for message in self._registry.stream("WatchChanges", request):
                yield from_proto(Change, message)

        async for change in follow(changes, after_sequence=after_sequence):
            yield change


class AsyncVersions:
    """Immutable files of weights and where they come from."""

    def __init__(self, registry: Link) -> None:
        self._registry = registry

    async def upload(
        self,
        lora: str | Lora,
        path: str | Path,
        *,
        base_model: str | BaseModel = "",
        trigger_words: Sequence[str] = (),
        description: str = "",
        tags: Sequence[str] = (),
        license: str = "",  # noqa: A002
        origin: LoraOrigin | None = None,
        on_progress: OnProgress | None = None,
        request_id: str | None = None,
    ) -> LoraVersion:
        """Adds a .safetensors file made elsewhere as the newest version; makes the LoRA if there is none."""
        source = file_source(path)
        version = resources_pb2.LoraVersion(
            base_model=_names.base_model(base_model) if base_model else "",
            trigger_words=trigger_words,
            description=description,
            tags=tags,
            license=license,
            origin=to_proto(origin, resources_pb2.LoraOrigin) if origin else None,
        )
        header = registry_pb2.UploadVersionHeader(
            parent=_names.lora(lora),
            version=version,
            file_name=source.name,
            sha256=await sha256_of(source.path),
            size_bytes=source.size_bytes,
            request_id=request_id or new_request_id(),
        )
        messages = partial(
            source.messages,
            registry_pb2.UploadVersionRequest(header=header),
            lambda chunk: registry_pb2.UploadVersionRequest(chunk=chunk),
            on_progress,
        )
        return from_proto(LoraVersion, await self._registry.send("UploadVersion", messages))

    async def get(self, version: str | LoraVersion) -> LoraVersion:
        """One version by number or alias (`acme/hero@prod`), with its modules and the file's metadata."""
        request = registry_pb2.GetLoraVersionRequest(name=_names.version(version))
        return from_proto(LoraVersion, await self._registry.call("GetLoraVersion", request))

    async def list(
        self,
        lora: str | Lora,
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[LoraVersion]:
        """Versions of a LoRA."""
        request = registry_pb2.ListLoraVersionsRequest(
            parent=_names.lora(lora), filter=filter, order_by=order_by
        )
        async for message in self._registry.items("ListLoraVersions", request, "versions"):
            yield from_proto(LoraVersion, message)

    async def update(
        self,
        version: str | LoraVersion,
        *,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        license: str | None = None,  # noqa: A002
        etag: str = "",
    ) -> LoraVersion:
        """Corrects what may be corrected; everything else of a version is fixed."""
        changes = given(description=description, tags=tags, license=license)
        message = resources_pb2.LoraVersion(name=_names.version(version), etag=etag, **changes)
        request = registry_pb2.UpdateLoraVersionRequest(version=message, update_mask=mask(changes))
        return from_proto(LoraVersion, await self._registry.call("UpdateLoraVersion", request))

    async def download(
        self,
        version: str | LoraVersion,
        destination: str | Path,
        *,
        file: VersionFile = VersionFile.WEIGHTS,
        preview_index: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Writes a file to a path, or into a folder under its own name; digest checked, all or nothing.

        Without `file`: the weights. NotFound where the version does not have that picture.
        """
        request = registry_pb2.DownloadVersionRequest(
            name=_names.version(version),
            file=enum_to_number(_FILES, _arguments.argument("file", VersionFile, file)),
            preview_index=preview_index,
        )
        return await save_stream(self._registry.stream("DownloadVersion", request), destination, on_progress)

    async def download_previews(self, version: str | LoraVersion, folder: str | Path) -> tuple[Path, ...]:
        """Writes the preview sheet, the loss plot and the previews that there are into a folder."""
        found = await self.get(version)
        wanted = [(VersionFile.PREVIEW_SHEET, 0)] if found.origin.preview_sheet else []
        wanted += [(VersionFile.LOSS_PLOT, 0)] if found.origin.loss_plot else []
        wanted += [(VersionFile.PREVIEW, index) for index in range(len(found.previews))]
        await asyncio.to_thread(Path(folder).mkdir, parents=True, exist_ok=True)
        return tuple(
            [await self.download(found, folder, file=file, preview_index=index) for file, index in wanted]
        )

    async def download_url(self, version: str | LoraVersion, *, expires_seconds: int = 0) -> DownloadUrl:
        """An address to fetch the file from without credentials; Unimplemented where the store has none."""
        request = registry_pb2.GetDownloadUrlRequest(
            name=_names.version(version), expires_seconds=expires_seconds
        )
        return from_proto(DownloadUrl, await self._registry.call("GetDownloadUrl", request))

    async def lineage(self, version: str | LoraVersion, *, depth: int = 0) -> Lineage:
        """What the version comes from, and what comes from it, `depth` steps each way (0: 8)."""
        request = registry_pb2.GetLineageRequest(name=_names.version(version), depth=depth)
        return from_proto(Lineage, await self._registry.call("GetLineage", request))
