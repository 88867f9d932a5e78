"""What the use cases need from outside: records in transactions, files, a reader of LoRA headers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.registry.domain import (
    BaseModel,
    Brand,
    Change,
    ChangeKind,
    FileFacts,
    ListQuery,
    Lora,
    LoraKey,
    LoraVersion,
    Page,
    RequestId,
)
from services.registry.domain_files import StoredFile

Brands = Collection[str] | None
"""Ids of the brands that a caller may use; None for all."""


class BrandRecords(Protocol):
    """Brands. In a transaction `lock` keeps others from changing what is read, `keep` from deleting it."""

    async def get(self, brand_id: str, *, lock: bool = False, keep: bool = False) -> Brand:
        """NotFound when there is none."""
        ...

    async def add(self, brand: Brand) -> None:
        """AlreadyExists when the id is taken."""
        ...

    async def replace(self, brand: Brand) -> None:
        """Writes every field."""
        ...

    async def delete(self, brand_id: str) -> None:
        """Removes the brand, which has no LoRAs."""
        ...

    async def list(self, brands: Brands, query: ListQuery) -> Page[Brand]:
        """Brands among those that a caller may use."""
        ...


class BaseModelRecords(Protocol):
    """Base models."""

    async def get(self, base_model_id: str, *, lock: bool = False, keep: bool = False) -> BaseModel:
        """NotFound when there is none."""
        ...

    async def find_by_sha256(self, sha256: str) -> BaseModel | None:
        """The first registered base with that digest."""
        ...

    async def in_use(self, base_model_id: str) -> bool:
        """Whether a version names it."""
        ...

    async def add(self, base: BaseModel) -> None:
        """AlreadyExists when the id is taken."""
        ...

    async def replace(self, base: BaseModel) -> None:
        """Writes every field."""
        ...

    async def delete(self, base_model_id: str) -> None:
        """Removes the base model, which no version names."""
        ...

    async def list(self, query: ListQuery) -> Page[BaseModel]:
        """All base models."""
        ...


class LoraRecords(Protocol):
    """LoRAs with their aliases."""

    async def get(self, key: LoraKey, *, lock: bool = False) -> Lora:
        """NotFound when there is none."""
        ...

    async def get_all(self, keys: Collection[LoraKey]) -> Mapping[LoraKey, Lora]:
        """Those that exist, in a fixed number of queries."""
        ...

    async def exist(self, brand_id: str) -> bool:
        """Whether the brand has any."""
        ...

    async def add(self, lora: Lora) -> bool:
        """False, and nothing done, when the id is taken. Numbers go on where a deleted LoRA's ended."""
        ...

    async def next_number(self, key: LoraKey) -> int:
        """The number of the next version; given back when the transaction fails, so that none is left out."""
        ...

    async def replace(self, lora: Lora) -> None:
        """Writes everything but the aliases."""
        ...

    async def delete(self, key: LoraKey) -> None:
        """With its versions and aliases."""
        ...

    async def set_alias(self, key: LoraKey, alias: str, version: int) -> None:
        """Makes or moves an alias."""
        ...

    async def delete_alias(self, key: LoraKey, alias: str) -> None:
        """Removes an alias."""
        ...

    async def list(self, brand_id: str, query: ListQuery) -> Page[Lora]:
        """LoRAs of one brand."""
        ...

    async def search(self, brands: Brands, words: Sequence[str], query: ListQuery) -> Page[Lora]:
        """LoRAs in which every word is the start of some word."""
        ...


class VersionRecords(Protocol):
    """Versions. Those of listings and batches come without modules, file metadata and training spec."""

    async def get(self, key: LoraKey, number: int, *, details: bool = False) -> LoraVersion:
        """NotFound when there is none."""
        ...

    async def get_all(
        self, keys: Collection[tuple[LoraKey, int]]
    ) -> Mapping[tuple[LoraKey, int], LoraVersion]:
        """Those that exist, in a fixed number of queries."""
        ...

    async def ancestors(
        self, version: LoraVersion, *, brands: Brands, depth: int, limit: int
    ) -> Sequence[tuple[int, LoraVersion]]:
        """Versions that this one's training goes back to, each with its distance in steps, nearest first.

        Neither versions of other brands nor what lies behind them.
        """
        ...

    async def descendants(
        self, version: LoraVersion, *, brands: Brands, depth: int, limit: int
    ) -> Sequence[tuple[int, LoraVersion]]:
        """Versions whose training goes back to this one, likewise."""
        ...

    async def add(self, version: LoraVersion) -> None:
        """Adds a version with all its details."""
        ...

    async def correct(self, version: LoraVersion) -> None:
        """Writes description, tags, licence and etag."""
        ...

    async def list(self, key: LoraKey, query: ListQuery) -> Page[LoraVersion]:
        """Versions of one LoRA; NotFound when there is no such LoRA."""
        ...


class ChangeRecords(Protocol):
    """The numbered log of changes."""

    async def append(self, kind: ChangeKind, lora: LoraKey, *, version: int = 0, alias: str = "") -> None:
        """Numbers are in the order of commits: a reader who has seen n misses nothing before it."""
        ...

    async def append_brand(self, kind: ChangeKind, brand_id: str) -> None:
        """The same, of a brand as such."""
        ...

    async def append_base_model(self, kind: ChangeKind, base_model_id: str) -> None:
        """The same, of a base model; readers of every brand see it."""
        ...

    async def last_sequence(self) -> int:
        """0 when nothing has changed yet."""
        ...

    async def after(self, sequence: int, brands: Brands, *, limit: int) -> Sequence[Change]:
        """Changes of those brands with a larger number, in order."""
        ...


class RequestRecords(Protocol):
    """Which request ids have been answered, and with what. Each brand is a scope of its own."""

    async def find(self, scope: str, request: RequestId) -> str | None:
        """The name in the first answer; None for a new or empty id; AlreadyExists after another body."""
        ...

    async def claim(self, scope: str, request: RequestId) -> str | None:
        """Like `find`, and takes a new id: others who claim it wait until this transaction ends."""
        ...

    async def answer(self, scope: str, request: RequestId, name: str) -> None:
        """Says what a claimed id was answered with."""
        ...


class Records(Protocol):
    """All records, as one transaction or one moment sees them."""

    @property
    def brands(self) -> BrandRecords: ...
    @property
    def base_models(self) -> BaseModelRecords: ...
    @property
    def loras(self) -> LoraRecords: ...
    @property
    def versions(self) -> VersionRecords: ...
    @property
    def changes(self) -> ChangeRecords: ...
    @property
    def requests(self) -> RequestRecords: ...


class RecordStore(Protocol):
    """Opens transactions and read-only snapshots."""

    def transaction(self) -> AbstractAsyncContextManager[Records]:
        """Commits at the end, takes everything back on an exception."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Records]:
        """One consistent view."""
        ...


class FileStore(Protocol):
    """The part of the artifact store that the registry uses."""

    async def put(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> StoredFile:
        """Stores a stream whole or not at all; InvalidArgument beyond `max_bytes`."""
        ...

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes; NotFound, DataLoss."""
        ...

    async def find(self, sha256: str) -> StoredFile | None:
        """What is known of a blob; None when it is not there."""
        ...

    async def presign(self, sha256: str, *, expires_seconds: int, file_name: str) -> str | None:
        """A URL for one download; None where the store has none."""
        ...


class HeaderProbe(Protocol):
    """Looks at a LoRA file while its bytes go by; InvalidArgument as soon as something is wrong."""

    async def feed(self, chunk: bytes) -> None:
        """The next bytes of the file."""
        ...

    async def finish(self) -> FileFacts:
        """What the file is, after its last byte."""
        ...


class HeaderReader(Protocol):
    """Makes probes."""

    def probe(self, *, field: str, file_name: str, size_bytes: int | None) -> HeaderProbe:
        """A probe whose errors name `field` and `file_name`; `size_bytes` where the size is already known."""
        ...


class Figures(Protocol):
    """What the registry is about, counted."""

    def version_registered(self, format_name: str, family: str, size_bytes: int) -> None:
        """A version was added."""
        ...

    def bytes_moved(self, direction: str, count: int) -> None:
        """Bytes went `in` or `out`."""
        ...

    def stack_resolved(self, outcome: str, references: int) -> None:
        """A stack was asked for; `ok`, or a reason."""
        ...

    def watchers_changed(self, by: int) -> None:
        """Watchers came or went."""
        ...
