"""Streams of messages as files, and files as streams of messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.labeler.v1 import labeler_pb2
from servicekit.artifacts.port import CHUNK_BYTES
from servicekit.errors import InvalidArgument
from services.labeler import file_names
from services.labeler.captions_files import CANONICAL_NAMES
from services.labeler.convert_answers import JSON_LINES, PNG, artifact_to_proto
from services.labeler.domain import Image
from services.labeler.incoming import FileStart
from services.labeler.keys import DatasetKey, RevisionKey
from services.labeler.rows import CaptionFormat, Export

ZIP: Final = "application/zip"
_MEDIA_TYPES: Final = {
    CaptionFormat.CSV: "text/csv",
    CaptionFormat.JSONL: JSON_LINES,
    CaptionFormat.TXT_ZIP: ZIP,
}


async def header_of(messages: AsyncIterator[Any]) -> Any:
    """The header in the first message; InvalidArgument when another part comes first."""
    async for message in messages:
        if message.HasField("header"):
            return message.header
        break
    raise InvalidArgument.of("header", "must come in the first message")


async def upload_parts(
    messages: AsyncIterator[labeler_pb2.UploadImagesRequest],
) -> AsyncIterator[FileStart | bytes]:
    """The files and their bytes, after the header."""
    async for message in messages:
        match message.WhichOneof("part"):
            case "file":
                file = message.file
                yield FileStart(file.file_name, file.size_bytes, file.caption)
            case "chunk":
                yield message.chunk
            case _:
                raise InvalidArgument.of("header", "comes in the first message only")


async def whole_file(
    messages: AsyncIterator[labeler_pb2.ImportCaptionsRequest | labeler_pb2.UploadTextsRequest],
    *,
    max_bytes: int,
) -> bytes:
    """The bytes after the header; InvalidArgument beyond the limit."""
    data = bytearray()
    async for message in messages:
        if message.HasField("header"):
            raise InvalidArgument.of("header", "comes in the first message only")
        data += message.chunk
        if len(data) > max_bytes:
            raise InvalidArgument.of("chunk", f"the file has more than {max_bytes} bytes")
    return bytes(data)


async def image_chunks(image: Image, chunks: AsyncIterator[bytes]) -> AsyncIterator[artifact_pb2.FileChunk]:
    """A picture as a file."""
    name = f"{file_names.stem(file_names.base(image.source_name))}.png"
    artifact = artifact_to_proto(image.sha256, image.size_bytes, PNG)
    yield artifact_pb2.FileChunk(artifact=artifact, file_name=name)
    async for chunk in chunks:
        yield artifact_pb2.FileChunk(data=chunk)


async def export_chunks(
    key: DatasetKey | RevisionKey, export: Export
) -> AsyncIterator[artifact_pb2.FileChunk]:
    """An export as a file. It is made while it is sent, so its size and digest are not known before the
    end.
    """
    name = key.dataset if isinstance(key, DatasetKey) else _revision_file_name(key)
    if export.include_images:
        media_type, file_name = ZIP, f"{name}.zip"
    elif export.form is None:
        media_type, file_name = JSON_LINES, f"{name}.jsonl"
    else:
        media_type, file_name = _MEDIA_TYPES[export.form], CANONICAL_NAMES[export.form]
    yield artifact_pb2.FileChunk(artifact=artifact_pb2.Artifact(media_type=media_type), file_name=file_name)
    async for piece in export.chunks:
        for start in range(0, len(piece), CHUNK_BYTES):
            yield artifact_pb2.FileChunk(data=piece[start : start + CHUNK_BYTES])


def _revision_file_name(key: RevisionKey) -> str:
    return f"{key.parent.dataset}-{key.revision or 'latest'}"
