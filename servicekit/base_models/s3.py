"""Base models from an S3 store: one checkpoint, or all objects of a pipeline directory below a prefix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import structlog
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError

from servicekit.base_models.faults import unavailable, unusable

SINGLE_FILE: Final = "model.safetensors"
"""What one checkpoint is called in the cache."""
_URI: Final = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^\0]{1,1024})")
# No name of a listing becomes a path unless it is a plain file, or one in a plain folder.
_NAME: Final = re.compile(r"(?:\w[\w-]*/)?\w[\w.-]*", re.ASCII)
_PICKLES: Final = (".ckpt", ".bin", ".pt", ".pth", ".pkl")
_MOST_OBJECTS: Final = 10_000
_ATTEMPTS: Final = 4
_CHUNK_BYTES: Final = 1 << 20
_ABSENT: Final = frozenset({"NoSuchKey", "NoSuchObject", "NoSuchBucket", "NotFound"})
_REFUSED: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object that belongs to the model: its name in the cache and what the store says of it."""

    name: str
    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class S3Source:
    """`s3://bucket/key`."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, source: str) -> Self:
        """FailedPrecondition for what is no such address, or names a pickle."""
        match = _URI.fullmatch(source)
        if match is None:
            raise unusable(f"{source} is not s3://bucket/key")
        if match["key"].endswith(_PICKLES):
            raise unusable(f"{source}: only .safetensors checkpoints are loaded, nothing is unpickled")
        return cls(match["bucket"], match["key"])

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def objects(self, client: Minio, counts: Callable[[str], bool]) -> list[S3Object]:
        """What to fetch; ``counts`` tells which names of a pipeline directory belong to the model.

        FailedPrecondition if there is nothing, Unavailable if the store cannot be asked.
        """
        with self._translated():
            if self.key.endswith(".safetensors"):
                found = client.stat_object(self.bucket, self.key)
                return [S3Object(SINGLE_FILE, self.key, found.size or 0, found.etag or "")]
            return self._below(client, counts)

    def download(self, client: Minio, objects: Sequence[S3Object], folder: Path) -> None:
        """Writes the objects to new files in pieces; a connection that breaks is taken up where it broke.

        FailedPrecondition if one is another one meanwhile, Unavailable if the store cannot be read.
        """
        for found in objects:
            destination = folder / found.name
            destination.parent.mkdir(exist_ok=True)
            self._download(client, found, destination)

    def _download(self, client: Minio, found: S3Object, destination: Path) -> None:
        done = 0
        with destination.open("xb") as file:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    for chunk in self._chunks(client, found, done):
                        done += len(chunk)
                        if done > found.size_bytes:
                            raise unusable(f"{self}: {found.key} is longer than the store said")
                        file.write(chunk)
                except (HTTPError, ServerError, InvalidResponseError) as error:
                    if attempt == _ATTEMPTS:
                        raise unavailable(f"{self} cannot be read just now: {error}") from error
                if done == found.size_bytes:
                    return
        raise unavailable(f"{self}: {found.key} breaks off after {done} of {found.size_bytes} bytes")

    def _below(self, client: Minio, counts: Callable[[str], bool]) -> list[S3Object]:
        prefix = self.key.rstrip("/") + "/"
        objects = []
        for number, item in enumerate(client.list_objects(self.bucket, prefix=prefix, recursive=True)):
            if number >= _MOST_OBJECTS:
                raise unusable(
                    f"{self} has more than {_MOST_OBJECTS} objects below it: no pipeline directory"
                )
            name = (item.object_name or "").removeprefix(prefix)
            if _NAME.fullmatch(name) and counts(name):
                objects.append(S3Object(name, prefix + name, item.size or 0, item.etag or ""))
        if not any(found.name == "model_index.json" for found in objects):
            raise unusable(
                f"{self} is neither a .safetensors checkpoint nor the prefix of a pipeline directory with a "
                "model_index.json"
            )
        return objects

    def _chunks(self, client: Minio, found: S3Object, offset: int) -> Iterator[bytes]:
        if found.size_bytes == 0:
            return
        # The rest must be of the object that was begun.
        same = {"If-Match": f'"{found.etag.strip(chr(34))}"'} if found.etag else {}
        headers: dict[str, str | list[str] | tuple[str]] = {**same}
        with self._translated():
            response = client.get_object(self.bucket, found.key, offset=offset, request_headers=headers)
        try:
            while chunk := response.read(_CHUNK_BYTES):
                yield chunk
        finally:
            response.close()
            response.release_conn()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except S3Error as error:
            if error.code in _ABSENT:
                raise unusable(f"{self}: there is no such object or bucket ({error.code})") from error
            if error.code in _REFUSED:
                raise unusable(f"{self}: the store refuses this service ({error.code})") from error
            if error.code == "PreconditionFailed":
                raise unavailable(f"{self} was changed while it was fetched") from error
            raise unavailable(f"{self} cannot be read just now: {error.code}") from error
        except (HTTPError, ServerError, InvalidResponseError) as error:
            raise unavailable(f"{self} cannot be read just now: {error}") from error
