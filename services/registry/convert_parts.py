"""Files and times: messages to domain objects and back. Pure, like convert."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from brandloom.api.common.v1 import artifact_pb2
from servicekit.artifacts.port import Artifact, artifact_key
from servicekit.errors import InvalidArgument
from services.registry.domain_files import StoredFile


def file_from_proto(message: artifact_pb2.Artifact, field: str) -> StoredFile:
    """A file of the store; InvalidArgument when its uri is not that of its digest."""
    if message.uri and message.uri != artifact_key(message.sha256):
        raise InvalidArgument.of(f"{field}.uri", f"is not that of the digest: {artifact_key(message.sha256)}")
    return StoredFile(sha256=message.sha256, size_bytes=message.size_bytes, media_type=message.media_type)


def file_to_proto(file: StoredFile) -> artifact_pb2.Artifact:
    """The artifact with its key in the store."""
    return artifact_pb2.Artifact(
        uri=Artifact(file.sha256, file.size_bytes).uri,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        media_type=file.media_type,
    )


def timestamp(moment: datetime) -> Timestamp:
    """The moment, to the microsecond."""
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp
