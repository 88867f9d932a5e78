"""The artifact store as a port: blobs that are named by the SHA-256 of their bytes and never change."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from servicekit.errors import InvalidArgument

CHUNK_BYTES: Final = 1 << 20
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")


class ArtifactTooLarge(InvalidArgument):
    """The stream holds more bytes than the caller allowed; nothing was stored."""

    default_reason = "ARTIFACT_TOO_LARGE"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored blob: the SHA-256 of its bytes (64 lower-case hex digits) and how many they are."""

    sha256: str
    size_bytes: int

    @property
    def uri(self) -> str:
        """Its key in any store: `sha256/ab/<hex>`."""
        return artifact_key(self.sha256)


def artifact_key(sha256: str) -> str:
    """`sha256/ab/<hex>`; InvalidArgument for anything but a digest, so that no text of a caller becomes a
    path."""
    if not _SHA256.match(sha256):
        raise InvalidArgument.of("sha256", "must be 64 lower-case hexadecimal digits")
    return f"sha256/{sha256[:2]}/{sha256}"


class ArtifactStore(Protocol):
    """Where bytes live. Every method raises Unavailable when the store cannot be reached."""

    async def put_stream(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> Artifact:
        """Stores the stream unless its content is there already; ArtifactTooLarge beyond `max_bytes`.

        The blob becomes visible whole or not at all.
        """
        ...

    async def put_bytes(self, data: bytes) -> Artifact:
        """Stores the bytes unless they are there already."""
        ...

    async def put_file(self, path: Path) -> Artifact:
        """Stores a copy of the file unless its content is there already."""
        ...

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes in chunks of 1 MiB at most.

        NotFound when there is no such blob; DataLoss when its bytes do not have that digest. The last chunk
        is held back until the digest is known, so a reader that reached the end has read the truth.
        """
        ...

    async def get_bytes(self, sha256: str, *, max_bytes: int) -> bytes:
        """The whole blob; ArtifactTooLarge beyond `max_bytes`, NotFound and DataLoss like `open`."""
        ...

    async def fetch(self, sha256: str, destination: Path) -> Path:
        """Writes the blob to `destination`, which appears whole and verified or not at all; returns it."""
        ...

    async def stat(self, sha256: str) -> Artifact | None:
        """What is known of the blob without reading it; None when it is not there."""
        ...

    async def presign_get(self, sha256: str, *, expires_seconds: int, filename: str) -> str | None:
        """A URL that lets its holder download the blob as `filename` for a while; None where there are
        none."""
        ...

    async def delete(self, sha256: str) -> None:
        """Removes the blob, if there is one.

        The store knows nobody's references: the caller must know that nobody has one or will ever make one.
        Whoever puts the same bytes at this moment may find them present, and have them deleted after that.
        """
        ...

    async def ready(self) -> bool:
        """Whether the store can be used at this moment; never raises."""
        ...
