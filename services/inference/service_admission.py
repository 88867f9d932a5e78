"""What every kind of request goes through before its engine job: a place in the queue, its versions and its
files.

async with self._admission.admit(wanted) as admitted:
    yield admitted.queued(seed)
    job = ...(base=await admitted.located_base(), loras=admitted.lora_files)
    async for event in engine...:
        admitted.started()      # at the first step
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from servicekit.errors import ServiceError, Unavailable
from services.inference.domain_jobs import BaseRef, LoraFile, Queued, UsedLora
from services.inference.ports import Engine, LocalBases, LoraFiles, Meter
from services.inference.service_queue import Place, RequestQueue
from services.inference.service_resolving import Resolution, Resolver, Wanted

T = TypeVar("T")
SERVER_STOPPING: Final = "SERVER_STOPPING"
LORA_FILE_INVALID: Final = "LORA_FILE_INVALID"
STOPPING_RETRY_SECONDS: Final = 1.0
"""Long enough for a client to have connected to another replica."""

Aside: TypeAlias = Callable[[], AbstractContextManager[None]]
_AT_ONCE_SECONDS: Final = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A resolved request whose files are on this host, for as long as the context that gave it."""

    resolution: Resolution
    paths: Mapping[str, Path]
    model_hashes: Mapping[str, str]
    """By digest, as the paths."""
    _local_bases: LocalBases
    _aside: Aside

    @property
    def lora_files(self) -> tuple[LoraFile, ...]:
        """The stack as an engine's job names it."""
        return self.files_of(self.resolution.stack)

    def files_of(self, stack: Sequence[UsedLora]) -> tuple[LoraFile, ...]:
        """LoRAs of the stack, used in another way, as an engine's job names them."""
        return tuple(
            LoraFile(
                reference=used.reference,
                sha256=used.sha256,
                path=str(self.paths[used.sha256]),
                text_encoder_weight=used.text_encoder_weight,
                weight=used.weight,
                window=used.window,
                region=used.region,
                model_hash=self.model_hashes[used.sha256],
            )
            for used in stack
        )

    async def located_base(self) -> BaseRef:
        """The base with its path on this host; fetching it may take minutes."""
        return await _unhurried(self._local_bases.locate(self.resolution.base), self._aside)


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """A request that waits, or works."""

    place: Place
    prepared: Prepared
    _leases: AsyncExitStack

    def queued(self, seed: int) -> Queued:
        """What the caller is told first."""
        resolution = self.prepared.resolution
        return Queued(
            position=self.place.ahead,
            stack=resolution.stack,
            seed=seed,
            base_model_sha256=resolution.base.sha256,
        )

    async def started(self) -> None:
        """The engine has the first row and the weights in memory: place and files are free for others."""
        self.place.started()
        await self._leases.aclose()


class Admission:
    """Lets requests in, and knows those that have not ended."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        local_bases: LocalBases,
        files: LoraFiles,
        queue: RequestQueue,
        engine: Engine,
        meter: Meter,
        stopping: Callable[[], bool],
    ) -> None:
        """``stopping`` says whether the server is on its way out and takes nothing new."""
        self._resolver = resolver
        self._local_bases = local_bases
        self._files = files
        self._queue = queue
        self._engine = engine
        self._meter = meter
        self._stopping = stopping
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Returns when no admitted request is left."""
        await self._idle.wait()

    @asynccontextmanager
    async def admit(self, wanted: Wanted) -> AsyncIterator[Admitted]:
        """A place in the queue, then versions and files. Leaves the queue at its end at the latest.

        Raises what `Resolver.resolve` and `LoraFiles.lease` raise, and Unavailable while the server stops,
        the engine starts, or too many wait. All are said before the first message: until then a client's
        channel tries again by itself.
        """
        self.require_open()
        self._engine.require_ready()
        place = self._queue.join(wanted.brand)
        self._enter()
        try:
            async with AsyncExitStack() as leases:
                prepared = await leases.enter_async_context(self.prepare(wanted, aside=place.aside))
                self._meter.request_admitted(wanted.brand)
                yield Admitted(place=place, prepared=prepared, _leases=leases)
        finally:
            place.leave()
            self._leave()

    async def resolve(self, wanted: Wanted) -> Resolution:
        """What a request means now, and no more."""
        return await self._resolver.resolve(wanted)

    @asynccontextmanager
    async def prepare(self, wanted: Wanted, *, aside: Aside | None = None) -> AsyncIterator[Prepared]:
        """Versions, and files that stay on this host until the end. What is not here at once is waited for in
        the context `aside`, or beside the queue by those that have no place in it.
        """
        aside = aside or partial(self._queue.beside, wanted.brand)
        resolution = await _unhurried(self._resolver.resolve(wanted), aside)
        async with AsyncExitStack() as leases:
            here = self._files.here([sha256 for sha256, _ in resolution.sizes])
            with nullcontext() if here else aside():
                paths = await leases.enter_async_context(self._files.lease(resolution.sizes))
            try:
                yield Prepared(
                    resolution=resolution,
                    paths=paths,
                    model_hashes={sha256: self._files.model_hash(sha256) for sha256 in paths},
                    _local_bases=self._local_bases,
                    _aside=aside,
                )
            except ServiceError as error:
                if error.reason == LORA_FILE_INVALID:
                    # Whatever is wrong with a file on this disk, the next request looks at it anew.
                    self._files.doubt(list(paths))
                raise

    def require_open(self) -> None:
        """Unavailable once the server is on its way out."""
        if self._stopping():
            raise Unavailable(
                "the server is stopping",
                reason=SERVER_STOPPING,
                retry_after_seconds=STOPPING_RETRY_SECONDS,
            )

    def _enter(self) -> None:
        self._under_way += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._idle.set()


async def _unhurried(answer: Coroutine[None, None, T], aside: Aside) -> T:
    """What the registry or a source of base models says; if it takes its time, it does so in `aside`."""
    task = asyncio.ensure_future(answer)
    try:
        done, _ = await asyncio.wait([task], timeout=_AT_ONCE_SECONDS)
        with nullcontext() if done else aside():
            return await task
    finally:
        task.cancel()
