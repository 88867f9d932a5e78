"""The artifact store in a bucket of MinIO or any S3-compatible store, through the `minio` client."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import quote

from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from servicekit.artifacts import streams
from servicekit.artifacts.port import CHUNK_BYTES, Artifact, artifact_key
from servicekit.daemon_threads import in_daemon_thread
from servicekit.errors import Internal, InvalidArgument, NotFound, ServiceError, Unavailable

# Files beyond one part go up as a multipart upload, a few parts at a time.
PART_BYTES: Final = 16 << 20
CONNECTIONS: Final = 16
_SPOOL_MEMORY_BYTES: Final = 4 << 20
_READ_ATTEMPTS: Final = 4
_PRESIGN_MAXIMUM_SECONDS: Final = 7 * 24 * 3600  # a limit of signature version 4
_ABSENT: Final = frozenset({"NoSuchKey", "NoSuchObject", "NotFound"})
_REFUSED: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"})

P = ParamSpec("P")
T = TypeVar("T")


class S3Store:
    """ArtifactStore over one bucket. The client blocks, so each of its calls runs in a thread."""

    def __init__(
        self,
        client: Minio,
        bucket: str,
        *,
        presigning_client: Minio | None = None,
        create_bucket: bool = False,
        part_bytes: int = PART_BYTES,
    ) -> None:
        """`presigning_client` signs for the endpoint that callers outside can reach, where that is another
        one."""
        self._client = client
        self._bucket = bucket
        self._presigning_client = presigning_client or client
        self._create_bucket = create_bucket
        self._part_bytes = part_bytes
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def put_stream(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> Artifact:
        """Spools the stream, for the key is its digest, then uploads it: beyond one part as a multipart
        upload."""
        # The key is the digest, so it is known only at the end: small streams wait in memory, others on the
        # disk.
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_MEMORY_BYTES) as file:
            artifact = await streams.spool(chunks, file, max_bytes=max_bytes)
            await self._upload(file, artifact)
            return artifact

    async def put_bytes(self, data: bytes) -> Artifact:
        """Like `put_stream`."""
        return await self.put_stream(streams.one(data), max_bytes=len(data))

    async def put_file(self, path: Path) -> Artifact:
        """Uploads the file, unless its digest is stored already."""
        artifact = await asyncio.to_thread(streams.describe_file, path)
        if await self.stat(artifact.sha256) == artifact:
            return artifact
        # Copied and hashed once more: the file may change under us, what is uploaded may not.
        return await self.put_stream(streams.read_file(path), max_bytes=artifact.size_bytes)

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        """Downloads and verifies; a connection that breaks is taken up again where it broke."""
        return streams.verified(self._chunks(sha256), sha256)

    async def get_bytes(self, sha256: str, *, max_bytes: int) -> bytes:
        """Downloads into memory."""
        return await streams.gather(self.open(sha256), max_bytes=max_bytes)

    async def fetch(self, sha256: str, destination: Path) -> Path:
        """Downloads to `destination`."""
        return await streams.write_whole(self.open(sha256), destination)

    async def stat(self, sha256: str) -> Artifact | None:
        """Asks for the object's size (HEAD)."""
        try:
            found = await self._call(self._client.stat_object, self._bucket, artifact_key(sha256))
        except NotFound:
            return None
        return Artifact(sha256, found.size or 0)

    async def presign_get(self, sha256: str, *, expires_seconds: int, filename: str) -> str | None:
        """A URL signed for the public endpoint; at most 7 days. NotFound when there is no such object."""
        if not 1 <= expires_seconds <= _PRESIGN_MAXIMUM_SECONDS:
            raise InvalidArgument.of("expires_seconds", f"must be from 1 to {_PRESIGN_MAXIMUM_SECONDS}")
        if await self.stat(sha256) is None:
            raise NotFound.of("Artifact", sha256)
        url: str = await self._call(
            self._presigning_client.presigned_get_object,
            self._bucket,
            artifact_key(sha256),
            expires=timedelta(seconds=expires_seconds),
            response_headers={"response-content-disposition": _attachment(filename)},
        )
        return url

    async def delete(self, sha256: str) -> None:
        """Removes the object, which S3 grants also when there is none."""
        await self._call(self._client.remove_object, self._bucket, artifact_key(sha256))

    async def ready(self) -> bool:
        """Whether the bucket is there; makes it first where that is allowed."""
        try:
            if await self._call(self._client.bucket_exists, self._bucket):
                return True
            if self._create_bucket:
                await self._call(self._client.make_bucket, self._bucket)
            return self._create_bucket
        except ServiceError:
            return False

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def call() -> T:
            with _translated():
                return function(*args, **kwargs)

        # A store that takes calls and does not answer them holds up nothing else, and no process's end.
        async with self._free:
            return await in_daemon_thread(call, "s3")

    async def _upload(self, file: Any, artifact: Artifact) -> None:
        # Two writers of one key bring the same bytes, so nothing is lost when both find it absent.
        if await self.stat(artifact.sha256) == artifact:
            return
        file.seek(0)
        await self._call(
            self._client.put_object,
            self._bucket,
            artifact.uri,
            file,
            artifact.size_bytes,
            part_size=self._part_bytes,
        )

    async def _chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """The object's bytes; a connection that breaks is taken up again where it broke, for blobs never
        change."""
        offset = 0
        for attempt in range(1, _READ_ATTEMPTS + 1):
            try:
                async for chunk in self._chunks_from(sha256, offset):
                    offset += len(chunk)
                    yield chunk
                return
            except Unavailable:
                # The client has tried several times to connect: a store that gives nothing at all is away.
                if attempt == _READ_ATTEMPTS or not offset:
                    raise

    async def _chunks_from(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        response = await self._get(sha256, offset)
        try:
            while chunk := await self._call(response.read, CHUNK_BYTES):
                yield chunk
        finally:
            # In a thread as well, for it waits until nobody reads any more; and nobody waits for it.
            in_daemon_thread(partial(_give_up, response), "s3-close")

    async def _get(self, sha256: str, offset: int) -> BaseHTTPResponse:
        try:
            return await self._call(
                self._client.get_object, self._bucket, artifact_key(sha256), offset=offset
            )
        except NotFound:
            raise NotFound.of("Artifact", sha256) from None


def _give_up(response: BaseHTTPResponse) -> None:
    # Closed, not drained: a reader that left early must not make us download the rest.
    with suppress(HTTPError, OSError):
        response.close()
        response.release_conn()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in _ABSENT:
            raise NotFound("there is no such object") from error
        if error.code in _REFUSED:
            raise Internal(
                f"the artifact store refused the call: {error.code}", reason="STORE_REFUSED"
            ) from error
        raise _unavailable() from error
    except (HTTPError, ServerError, InvalidResponseError, OSError) as error:
        raise _unavailable() from error


def _unavailable() -> Unavailable:
    return Unavailable(
        "the artifact store cannot be used right now", reason="STORE_UNAVAILABLE", retry_after_seconds=1.0
    )


def _attachment(filename: str) -> str:
    # RFC 6266: the plain form for old readers, the encoded one for names beyond ASCII.
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
