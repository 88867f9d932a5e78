"""The upload of pictures and archives: one result for each file, and a bad file does not stop the others."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from servicekit.artifacts.port import Artifact, ArtifactStore
from servicekit.clock import Clock
from servicekit.errors import InvalidArgument, ResourceExhausted
from services.labeler import captions, contents, file_names, placing, texts
from services.labeler.domain import (
    DEFAULT_MIN_SIDE,
    Failure,
    Image,
    NormalisedPicture,
    UploadOutcome,
    UploadResult,
)
from services.labeler.incoming import FileStart, IncomingFile
from services.labeler.keys import DatasetKey
from services.labeler.limits import UploadLimits
from services.labeler.ports import ArchiveReader, Meter, PictureReader, Records, Unit

_CAPTION_SUFFIXES: Final = (".txt", ".csv", ".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class _Offered:
    """A file to put into the dataset: its name, and its bytes or why it is refused already."""

    name: str
    content: bytes | Failure
    caption: str = ""


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A picture, and where its PNG is stored."""

    picture: NormalisedPicture
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class _Read:
    """A file after it was looked at. A failure is kept as a record when the file was to be a picture."""

    offered: _Offered
    outcome: _Decoded | Failure | Image
    source_sha256: str = ""
    is_kept: bool = False


class UploadService:
    """Takes uploads."""

    def __init__(
        self,
        *,
        records: Records,
        store: ArtifactStore,
        pictures: PictureReader,
        archives: ArchiveReader,
        clock: Clock,
        meter: Meter,
        limits: UploadLimits,
    ) -> None:
        self._records = records
        self._store = store
        self._pictures = pictures
        self._archives = archives
        self._clock = clock
        self._meter = meter
        self._limits = limits

    async def upload(
        self, parent: DatasetKey, min_side: int, parts: AsyncIterator[FileStart | bytes]
    ) -> list[UploadResult]:
        """Puts the files into the dataset in their order; the results come in the same order.

        Pictures are decoded several at a time, ahead of being placed. What was placed stays when the stream
        breaks: the same upload again finds it unchanged.
        """
        async with self._records.snapshot() as unit:
            contents.require_no_texts(await unit.datasets.get(parent))
            room = self._limits.max_dataset_images - await unit.images.count(parent)
        side = min_side or DEFAULT_MIN_SIDE
        placer = _Placer(self._records, self._clock, self._meter, parent, side, room)
        results: list[UploadResult] = []
        reading: deque[asyncio.Task[_Read]] = deque()
        try:
            async for offered in self._offered(parts):
                if len(results) + len(reading) >= self._limits.max_files:
                    raise self._too_many_files(parent)
                reading.append(asyncio.create_task(self._read(parent, offered)))
                if len(reading) > self._pictures.capacity:
                    results.append(await placer.place(await reading.popleft()))
            while reading:
                results.append(await placer.place(await reading.popleft()))
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        return results

    async def _offered(self, parts: AsyncIterator[FileStart | bytes]) -> AsyncIterator[_Offered]:
        current: IncomingFile | None = None
        try:
            async for part in parts:
                if isinstance(part, bytes):
                    if current is None:
                        raise InvalidArgument.of("chunk", "bytes came before the file that they belong to")
                    await current.take(part)
                    continue
                if current is not None:
                    async for offered in self._unpacked(current):
                        yield offered
                current = IncomingFile(part, self._archives, self._limits)
            if current is not None:
                async for offered in self._unpacked(current):
                    yield offered
        finally:
            if current is not None:
                current.close()

    async def _unpacked(self, incoming: IncomingFile) -> AsyncIterator[_Offered]:
        """The file itself, or those in it when it is an archive."""
        start = incoming.start
        content = incoming.content()
        try:
            name = file_names.checked(start.file_name)
        except file_names.FileNameError as error:
            name = file_names.shown(start.file_name)
            content = Failure("FILE_NAME_REFUSED", str(error))
        if fault := texts.problem(start.caption) or captions.too_long(start.caption):
            content = Failure("CAPTION_INVALID", f"the caption {fault}")
        try:
            if isinstance(content, Failure):
                yield _Offered(name, content)
            elif not incoming.is_archive:
                yield _Offered(name, await asyncio.to_thread(content.read), start.caption.strip())
            else:
                async for file in self._archives.files(content):
                    if isinstance(file, Failure):
                        yield _Offered(name, file)
                    else:
                        yield _Offered(file.name, file.content)
        finally:
            incoming.close()

    async def _read(self, parent: DatasetKey, offered: _Offered) -> _Read:
        if isinstance(offered.content, Failure):
            return _Read(offered, offered.content)
        if offered.name.lower().endswith(_CAPTION_SUFFIXES):
            message = "this is no picture; caption files are taken by ImportCaptions"
            return _Read(offered, Failure("NOT_A_PICTURE", message))
        source_sha256 = (await asyncio.to_thread(hashlib.sha256, offered.content)).hexdigest()
        async with self._records.snapshot() as unit:
            known = await unit.images.by_source_name(parent, offered.name)
        if known is not None and known.is_readable and known.source_sha256 == source_sha256:
            return _Read(offered, known, source_sha256)
        picture = await self._pictures.read(offered.content)
        if isinstance(picture, Failure):
            is_kept = not offered.name.lower().endswith(".zip")
            return _Read(offered, picture, source_sha256, is_kept)
        artifact = await self._store.put_bytes(picture.png)
        return _Read(offered, _Decoded(picture, artifact), source_sha256)

    def _too_many_files(self, parent: DatasetKey) -> ResourceExhausted:
        return ResourceExhausted(
            f"one upload takes {self._limits.max_files} files; send the others in another one",
            reason="UPLOAD_TOO_MANY_FILES",
            metadata={"resource_name": parent.name, "limit": str(self._limits.max_files)},
        )


class _Placer:
    """Puts what was read into one dataset, in order, each file in a transaction of its own."""

    def __init__(
        self, records: Records, clock: Clock, meter: Meter, parent: DatasetKey, min_side: int, room: int
    ) -> None:
        self._records = records
        self._clock = clock
        self._meter = meter
        self._parent = parent
        self._min_side = min_side
        self._room = room

    async def place(self, read: _Read) -> UploadResult:
        """What became of the file."""
        async with self._records.transaction() as unit:
            contents.require_no_texts(await unit.datasets.get(self._parent, lock=True))
            result = await self._placed(unit, read)
        self._meter.uploaded(result.outcome)
        return result

    async def _placed(self, unit: Unit, read: _Read) -> UploadResult:
        outcome = read.outcome
        name = read.offered.name
        known = await unit.images.by_source_name(self._parent, name)
        if known is not None and known.is_readable:
            if known.source_sha256 == read.source_sha256:
                return UploadResult(source_name=name, outcome=UploadOutcome.UNCHANGED, image=known)
            if not isinstance(outcome, Failure):
                message = "the dataset has another picture of this name; delete that one first"
                return _rejected(name, Failure("FILE_NAME_TAKEN", message))
        if isinstance(outcome, Failure):
            return await self._refused(unit, read, outcome, known)
        if isinstance(outcome, Image):
            # It was there before the file was decoded, and is not any more.
            return _rejected(
                name, Failure("PICTURE_DELETED", "the picture was deleted meanwhile; send it again")
            )
        if self._room <= 0 and known is None:
            return _rejected(name, Failure("DATASET_FULL", "the dataset has as many pictures as it may have"))
        if known is not None:
            await unit.images.delete(known.key)
        return await self._added(unit, read, outcome)

    async def _refused(self, unit: Unit, read: _Read, failure: Failure, known: Image | None) -> UploadResult:
        name = read.offered.name
        if not read.is_kept or self._room <= 0 or (known is not None and known.is_readable):
            return _rejected(name, failure)
        if known is not None:
            await unit.images.delete(known.key)
        else:
            self._room -= 1
        image = placing.unreadable(
            self._parent,
            source_name=name,
            source_sha256=read.source_sha256,
            failure=failure,
            now=self._clock.now(),
        )
        await unit.images.add(image)
        return UploadResult(source_name=name, outcome=UploadOutcome.REJECTED, image=image, failure=failure)

    async def _added(self, unit: Unit, read: _Read, decoded: _Decoded) -> UploadResult:
        prints = decoded.picture.fingerprint
        image = placing.readable(
            self._parent,
            source_name=read.offered.name,
            source_sha256=read.source_sha256,
            picture=decoded.picture,
            sha256=decoded.artifact.sha256,
            size_bytes=decoded.artifact.size_bytes,
            caption=read.offered.caption,
            min_side=self._min_side,
            same=await unit.images.by_pixels(self._parent, prints.pixel_sha256),
            candidates=await unit.images.sharing_a_band(self._parent, prints),
            now=self._clock.now(),
        )
        await unit.images.add(image)
        self._room -= 1
        outcome = UploadOutcome.DUPLICATE if image.excluded else UploadOutcome.ADDED
        return UploadResult(source_name=read.offered.name, outcome=outcome, image=image)


def _rejected(name: str, failure: Failure) -> UploadResult:
    return UploadResult(source_name=name, outcome=UploadOutcome.REJECTED, failure=failure)
