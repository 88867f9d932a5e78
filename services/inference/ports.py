"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from services.inference.domain_capacity import CacheUsage, EngineState
from services.inference.domain_changes import ResolutionUsage
from services.inference.domain_export import ExportedFile, ExportOrder
from services.inference.domain_jobs import BaseRef, EngineEvent, ImageJob, ResolvedStack, UsedLora
from services.inference.domain_texts import TextEngineEvent, TextJob


class Registry(Protocol):
    """Knows what references mean."""

    async def resolve_stack(self, brand: str, references: Sequence[str], base_model: str) -> ResolvedStack:
        """The LoRAs in the order of the references, checked against ``base_model`` unless that is empty.

        NotFound for a brand or base model that is not there, InvalidArgument for LoRAs that are not;
        FailedPrecondition for a LoRA of another base; Unavailable when the registry is away.
        """
        ...

    def usage(self) -> ResolutionUsage:
        """How often it was known what was asked for."""
        ...


class LocalBases(Protocol):
    """Base models on this host."""

    async def describe(self, source: str) -> BaseRef:
        """The base at a path; FailedPrecondition if there is none."""
        ...

    async def locate(self, base: BaseRef) -> BaseRef:
        """The base with its path on this host, fetched if need be.

        FailedPrecondition when its source holds no base or another one, Unavailable when it cannot be read.
        """
        ...


class LoraFiles(Protocol):
    """LoRA files by digest, on this host's disk."""

    def lease(self, sizes: Sequence[tuple[str, int]]) -> AbstractAsyncContextManager[dict[str, Path]]:
        """Paths of the files with these (digest, size in bytes), which stay until the context ends.

        NotFound, DataLoss or Unavailable as the artifact store has it.
        """
        ...

    def here(self, digests: Sequence[str]) -> bool:
        """Whether a lease of these files has nothing to fetch, as far as is known."""
        ...

    def model_hash(self, sha256: str) -> str:
        """`sshs_model_hash` of a file in a lease that was just given; empty for a file that has none."""
        ...

    def doubt(self, digests: Sequence[str]) -> None:
        """These files could not be used: each is looked at anew, and fetched if need be, by its next
        lease.
        """
        ...

    def usage(self) -> CacheUsage:
        """How full the disk cache is."""
        ...


class Engine(Protocol):
    """Makes pictures and texts, in a process of its own."""

    def generate(self, job: ImageJob) -> AsyncGenerator[EngineEvent, None]:
        """Events of one job: Started, then progress and pictures. Closing it cancels the job.

        Unavailable when the engine is not there or goes away; FailedPrecondition for a file that cannot be
        used; InvalidArgument for a setting that the base model cannot follow.
        """
        ...

    async def pin(self, key: str, job: ImageJob) -> None:
        """Have the job's stack loaded and keep it under that key, until it is unpinned or the engine ends.

        Raises what `generate` raises, and ResourceExhausted when pins take too much.
        """
        ...

    def unpin(self, key: str) -> None:
        """Let a stack go; unknown ones are fine."""
        ...

    def generate_text(self, job: TextJob) -> AsyncGenerator[TextEngineEvent, None]:
        """Events of one job: TextStarted, then pieces, then TextFinished. Closing it cancels the job.

        Raises what ``generate`` raises.
        """
        ...

    def require_ready(self) -> None:
        """Unavailable, with the time after which it is likely to be there, while it takes no jobs."""
        ...

    def state(self) -> EngineState:
        """What it last told."""
        ...


class PictureSigner(Protocol):
    """Puts a signed statement of its origin into a picture."""

    async def sign(self, png: bytes, job: ImageJob, stack: Sequence[UsedLora]) -> bytes:
        """The PNG with the statement, its text chunks as they were; Unavailable if it cannot be signed."""
        ...


class StackExporter(Protocol):
    """Writes stacks as single files of weights."""

    def export(self, order: ExportOrder) -> AbstractAsyncContextManager[ExportedFile]:
        """The file, which stays until the context ends.

        FailedPrecondition for a LoRA or a base that cannot be used, InvalidArgument where nothing is left to
        write or the precision does not hold it, Unavailable when too many wait or the writer goes away.
        """
        ...


class Meter(Protocol):
    """Counts what the use cases do."""

    def queue_changed(self, waiting: int, brand: str, of_brand: int) -> None:
        """So many requests wait, so many of them of the brand, where something has changed."""
        ...

    def fetching_changed(self, fetching: int) -> None:
        """So many requests wait for files or the registry."""
        ...

    def request_refused(self, queue: str) -> None:
        """There was no room: in the part of its brand (`brand`), or in the whole queue (`all`); among those
        that wait for files or the registry likewise (`fetching_brand`, `fetching_all`).
        """
        ...

    def request_admitted(self, brand: str) -> None:
        """A request of a brand that exists is on its way."""
        ...

    def request_started(self, waited_seconds: float) -> None:
        """A request got its first row."""
        ...

    def stack_attached(self, seconds: float) -> None:
        """The engine had a request's stack ready after so long."""
        ...

    def rows_stepped(self, brand: str, steps: int) -> None:
        """So many denoising steps of single pictures were taken."""
        ...

    def picture_made(self, brand: str) -> None:
        """A picture was handed out."""
        ...

    def picture_withheld(self, brand: str) -> None:
        """The safety checker kept a picture back."""
        ...
