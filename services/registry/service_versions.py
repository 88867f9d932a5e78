"""Use cases of versions: take files in, register them once, describe them, hand them out."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from servicekit.clock import Clock
from servicekit.errors import FieldViolation, InvalidArgument, NotFound, Unimplemented
from servicekit.identity import current_principal, require_administrator
from servicekit.ids import new_id
from services.registry.domain import (
    FileFacts,
    ListQuery,
    LoraKey,
    LoraVersion,
    Page,
    RequestId,
    VersionDraft,
    VersionKey,
    brand_name,
)
from services.registry.domain_files import StoredFile, VersionFile
from services.registry.domain_references import ReferenceFault, choose_version
from services.registry.ports import Figures, FileStore, HeaderProbe, HeaderReader, Records, RecordStore
from services.registry.service_catalogue import check_etag
from services.registry.service_registration import Registration, register

MEDIA_TYPE: Final = "application/vnd.safetensors"
DEFAULT_EXPIRY_SECONDS: Final = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadHeader:
    """What a caller says before the bytes; sha256 "" and size 0 where it does not know them."""

    key: LoraKey
    draft: VersionDraft
    file_name: str
    sha256: str
    size_bytes: int
    request: RequestId


@dataclass(frozen=True, slots=True)
class Download:
    """A version's file: what it is, a name to save it under, and its bytes."""

    file: StoredFile
    file_name: str
    chunks: AsyncIterator[bytes]


async def locate(records: Records, key: VersionKey, *, details: bool = False) -> LoraVersion:
    """The version that a name means now, `latest` and aliases included; NotFound when there is none."""
    number = key.number
    if number is None:
        try:
            number = choose_version(key.which, await records.loras.get(key.lora))
        except ReferenceFault as fault:
            named = {"resource_type": "LoraVersion", "resource_name": str(key)}
            raise NotFound(fault.description, metadata=named) from None
    return await records.versions.get(key.lora, number, details=details)


class VersionCases:
    """Versions of LoRAs. `max_upload_bytes` bounds a file."""

    def __init__(
        self,
        store: RecordStore,
        files: FileStore,
        headers: HeaderReader,
        figures: Figures,
        clock: Clock,
        *,
        max_upload_bytes: int,
    ) -> None:
        self._store = store
        self._files = files
        self._headers = headers
        self._figures = figures
        self._clock = clock
        self._max_upload_bytes = max_upload_bytes

    async def upload(self, header: UploadHeader, chunks: AsyncIterator[bytes]) -> LoraVersion:
        """Stores a file and registers it; nothing is left when its header, digest or size is wrong.

        Pictures are named by digests, which tell no owner: PermissionDenied unless the caller administers.
        """
        if header.draft.pictures:
            require_administrator()
        if header.size_bytes > self._max_upload_bytes:
            raise InvalidArgument.of(
                "header.size_bytes", f"must be at most {self._max_upload_bytes}", reason="ARTIFACT_TOO_LARGE"
            )
        async with self._store.snapshot() as records:
            await records.brands.get(header.key.brand)
        probe = self._headers.probe(
            field="chunk", file_name=header.file_name, size_bytes=header.size_bytes or None
        )
        watched = _Watched(chunks, probe, header)
        stored = await self._files.put(watched.bytes(), max_bytes=self._max_upload_bytes)
        self._figures.bytes_moved("in", stored.size_bytes)
        assert watched.facts is not None  # put() has read the stream to its end
        body = hashlib.sha256(f"{header.request.digest} {stored.sha256}".encode()).hexdigest()
        return await self._register(
            Registration(
                key=header.key,
                draft=header.draft,
                file=replace(stored, media_type=MEDIA_TYPE),
                facts=watched.facts,
                creator=current_principal().subject,
                request=replace(header.request, digest=body),
            )
        )

    async def register(
        self, key: LoraKey, file: StoredFile, draft: VersionDraft, request: RequestId
    ) -> LoraVersion:
        """Registers a file of the store, once for each request id; its bytes are read and verified first."""
        async with self._store.snapshot() as records:
            await records.brands.get(key.brand)
            answered = await records.requests.find(brand_name(key.brand), request)
            if answered is not None:
                return await _answered(records, key, answered)
        stored = await self._check_stored(file)
        probe = self._headers.probe(
            field="version.artifact", file_name=file.sha256, size_bytes=stored.size_bytes
        )
        async for chunk in self._files.open(file.sha256):
            await probe.feed(chunk)
        return await self._register(
            Registration(
                key=key,
                draft=draft,
                file=replace(stored, media_type=file.media_type or MEDIA_TYPE),
                facts=await probe.finish(),
                creator=current_principal().subject,
                request=request,
            )
        )

    async def get(self, key: VersionKey) -> LoraVersion:
        """The version with all its details; NotFound."""
        async with self._store.snapshot() as records:
            return await locate(records, key, details=True)

    async def list(self, key: LoraKey, query: ListQuery) -> Page[LoraVersion]:
        """The LoRA's versions without their details, newest first unless asked otherwise."""
        async with self._store.snapshot() as records:
            return await records.versions.list(key, query)

    async def correct(self, key: VersionKey, values: Mapping[str, Any], etag: str) -> LoraVersion:
        """The version with its description, tags or licence replaced."""
        async with self._store.transaction() as records:
            await records.loras.get(key.lora, lock=True)
            version = await locate(records, key, details=True)
            check_etag(etag, version.etag, version.name)
            version = replace(version, **values, etag=new_id())
            await records.versions.correct(version)
        return version

    async def download(
        self, key: VersionKey, file: VersionFile = VersionFile.WEIGHTS, preview_index: int = 0
    ) -> Download:
        """The file, as a stream whose digest is verified on the way; NotFound where the version has none."""
        async with self._store.snapshot() as records:
            version = await locate(records, key, details=file is not VersionFile.WEIGHTS)
        stored = _file_of(version, file, preview_index)
        if stored is None:
            raise NotFound(f"{version.name} has no {file.replace('_', ' ')}", reason="VERSION_FILE_NOT_FOUND")
        name = file_name_of(version, file, preview_index)
        return Download(stored, name, self._counted(stored.sha256))

    async def download_url(self, key: VersionKey, expires_seconds: int) -> tuple[str, LoraVersion]:
        """A presigned URL; Unimplemented where the store has none."""
        async with self._store.snapshot() as records:
            version = await locate(records, key)
        url = await self._files.presign(
            version.file.sha256,
            expires_seconds=expires_seconds or DEFAULT_EXPIRY_SECONDS,
            file_name=file_name_of(version),
        )
        if url is None:
            raise Unimplemented(
                "this artifact store gives out no URLs; download the version itself",
                reason="PRESIGN_UNSUPPORTED",
            )
        return url, version

    async def _counted(self, sha256: str) -> AsyncIterator[bytes]:
        async for chunk in self._files.open(sha256):
            self._figures.bytes_moved("out", len(chunk))
            yield chunk

    async def _check_stored(self, file: StoredFile) -> StoredFile:
        stored = await self._files.find(file.sha256)
        if stored is None:
            raise NotFound.of("Artifact", file.sha256)
        if file.size_bytes and file.size_bytes != stored.size_bytes:
            raise InvalidArgument.of(
                "version.artifact.size_bytes",
                f"is {file.size_bytes}, the stored file has {stored.size_bytes}",
            )
        if stored.size_bytes > self._max_upload_bytes:
            raise InvalidArgument.of(
                "version.artifact",
                f"is larger than {self._max_upload_bytes} bytes",
                reason="ARTIFACT_TOO_LARGE",
            )
        return stored

    async def _check_pictures(self, draft: VersionDraft) -> None:
        missing = [
            FieldViolation(f"version.{field}", f"there is no artifact {picture.sha256}")
            for field, picture in draft.pictures.items()
            if await self._files.find(picture.sha256) is None
        ]
        if missing:
            raise InvalidArgument(missing, reason="PREVIEW_NOT_FOUND")

    async def _register(self, registration: Registration) -> LoraVersion:
        await self._check_pictures(registration.draft)
        scope = brand_name(registration.key.brand)
        async with self._store.transaction() as records:
            answered = await records.requests.claim(scope, registration.request)
            if answered is not None:
                return await _answered(records, registration.key, answered)
            version = await register(records, registration, self._clock.now())
            await records.requests.answer(scope, registration.request, version.name)
        self._figures.version_registered(version.format, version.family, version.file.size_bytes)
        return version


class _Watched:
    """The bytes of an upload on their way to the store: looked at, counted, compared with the header."""

    def __init__(self, chunks: AsyncIterator[bytes], probe: HeaderProbe, header: UploadHeader) -> None:
        self._chunks = chunks
        self._probe = probe
        self._header = header
        self.facts: FileFacts | None = None

    async def bytes(self) -> AsyncIterator[bytes]:
        """The same bytes; raises in place of the end when something is wrong, so that nothing is stored."""
        digest, size = hashlib.sha256(), 0
        async for chunk in self._chunks:
            digest.update(chunk)
            size += len(chunk)
            await self._probe.feed(chunk)
            yield chunk
        if self._header.size_bytes and size != self._header.size_bytes:
            raise InvalidArgument.of(
                "header.size_bytes",
                f"is {self._header.size_bytes}, but {size} bytes came",
                reason="SIZE_MISMATCH",
            )
        if self._header.sha256 and digest.hexdigest() != self._header.sha256:
            raise InvalidArgument.of(
                "header.sha256",
                f"is not the digest of the bytes that came: {digest.hexdigest()}",
                reason="DIGEST_MISMATCH",
            )
        self.facts = await self._probe.finish()


def file_name_of(
    version: LoraVersion, file: VersionFile = VersionFile.WEIGHTS, preview_index: int = 0
) -> str:
    """`hero-v3.safetensors`, `hero-v3-loss-plot.png`, `hero-v3-preview-0.png`."""
    stem = f"{version.key.lora}-v{version.version}"
    if file is VersionFile.WEIGHTS:
        return f"{stem}.safetensors"
    number = f"-{preview_index}" if file is VersionFile.PREVIEW else ""
    return f"{stem}-{file.replace('_', '-')}{number}.png"


def _file_of(version: LoraVersion, file: VersionFile, preview_index: int) -> StoredFile | None:
    match file:
        case VersionFile.WEIGHTS:
            return version.file
        case VersionFile.PREVIEW_SHEET:
            return version.origin.preview_sheet
        case VersionFile.LOSS_PLOT:
            return version.origin.loss_plot
        case VersionFile.PREVIEW:
            return version.previews[preview_index] if preview_index < len(version.previews) else None


async def _answered(records: Records, key: LoraKey, name: str) -> LoraVersion:
    number = int(name.rpartition("/")[2])
    return await records.versions.get(key, number, details=True)
