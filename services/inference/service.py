"""Use cases of the inference service."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from servicekit.errors import (
    FailedPrecondition,
    InvalidArgument,
    QuotaViolation,
    ResourceExhausted,
    Unavailable,
)
from services.inference.domain import MAX_SEED, PICTURE_FAMILIES, ImageRequest, Limits
from services.inference.domain_capacity import Capacity, LoadedBase
from services.inference.domain_jobs import (
    BaseRef,
    ImageEvent,
    ImageJob,
    LoraFile,
    Picture,
    Preview,
    Progress,
    Queued,
    RawPicture,
    ResolvedStack,
    Started,
    UsedLora,
)
from services.inference.picture_text import with_texts
from services.inference.ports import Engine, LocalBases, LoraFiles, Meter, PictureSigner, Registry
from services.inference.service_stacks import WantedLora, placed, read_stack, tags_of, used_loras

BASE_MODELS = "baseModels/"
RETRY_SECONDS = 5.0
ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"


@dataclass(slots=True)
class _Waiting:
    """Counts one request as waiting until it starts or ends, whichever is first."""

    service: InferenceService
    since: float = field(default_factory=time.monotonic)
    over: bool = False

    def end(self, *, started: bool) -> None:
        if self.over:
            return
        self.over = True
        self.service.leave_queue(time.monotonic() - self.since if started else None)


class InferenceService:
    """Resolves what a request names, has the engine make its pictures, and says what they were made from."""

    def __init__(
        self,
        *,
        registry: Registry,
        local_bases: LocalBases,
        files: LoraFiles,
        engine: Engine,
        signer: PictureSigner,
        meter: Meter,
        default_base: str,
        max_rows: int,
        limits: Limits,
    ) -> None:
        """``default_base`` is a `baseModels/{id}` name or a path on this host; empty: requests must name
        one.
        """
        self._registry = registry
        self._local_bases = local_bases
        self._files = files
        self._engine = engine
        self._signer = signer
        self._meter = meter
        self._default_base = default_base
        self._max_rows = max_rows
        self._limits = limits
        self._waiting = 0
        self._default_sha256 = ""

    async def generate_images(self, request: ImageRequest) -> AsyncIterator[ImageEvent]:
        """Queued, then progress and pictures in the order in which they get done.

        Raises InvalidArgument, NotFound, FailedPrecondition, ResourceExhausted and Unavailable.
        """
        request.check(self._limits)
        text, entries = read_stack(request.prompt, request.stack, self._limits.max_stack)
        if not self._engine.state().ready:
            # Said before the first message: until then a client's channel tries again by itself.
            raise Unavailable(
                "the engine is starting", reason=ENGINE_UNAVAILABLE, retry_after_seconds=RETRY_SECONDS
            )
        waiting = self._join_queue()
        try:
            resolved = await self._resolve(request, entries)
            base = await self._base(request, resolved)
            stack = used_loras(entries, resolved)
            async with AsyncExitStack() as leases:
                sizes = [(lora.sha256, lora.size_bytes) for lora in resolved.loras]
                paths = await leases.enter_async_context(self._files.lease(sizes))
                job = _job(request, text, base, stack, paths)
                yield Queued(
                    position=self._waiting - 1, stack=stack, seed=job.seed, base_model_sha256=base.sha256
                )
                # After the first message: fetching a base may take minutes.
                job = replace(job, base=await self._local_bases.locate(base))
                tags = tags_of(request.stack)
                full_prompt = f"{request.prompt} {tags}" if tags else request.prompt
                async for event in self._run(request.brand, full_prompt, job, stack, waiting, leases):
                    yield event
        finally:
            waiting.end(started=False)

    def capacity(self) -> Capacity:
        """What the service holds and can take at this moment."""
        state = self._engine.state()
        return Capacity(
            engine_ready=state.ready,
            active_rows=state.active_rows,
            max_rows=self._max_rows,
            queued_requests=self._waiting,
            limits=self._limits,
            bases=tuple(
                LoadedBase(
                    sha256=base.sha256,
                    family=base.family,
                    source=base.source,
                    default=base.sha256 == self._default_sha256,
                )
                for base in state.bases
            ),
            caches=(self._files.usage(), *state.caches),
        )

    def leave_queue(self, waited_seconds: float | None) -> None:
        """A request has started after so long, or (None) ended without."""
        self._waiting -= 1
        self._meter.queue_changed(self._waiting)
        if waited_seconds is not None:
            self._meter.request_started(waited_seconds)

    async def _run(
        self,
        brand: str,
        full_prompt: str,
        job: ImageJob,
        stack: tuple[UsedLora, ...],
        waiting: _Waiting,
        leases: AsyncExitStack,
    ) -> AsyncIterator[ImageEvent]:
        started: Started | None = None
        async with aclosing(self._engine.generate(job)) as events:
            async for event in events:
                if isinstance(event, Started):
                    started = event
                    waiting.end(started=True)
                    # The engine holds the weights in memory now.
                    await leases.aclose()
                elif isinstance(event, Progress | Preview):
                    yield event
                else:
                    assert started is not None
                    yield await self._picture(event, brand, full_prompt, job, started, stack)

    async def _picture(
        self,
        raw: RawPicture,
        brand: str,
        full_prompt: str,
        job: ImageJob,
        started: Started,
        stack: tuple[UsedLora, ...],
    ) -> Picture:
        """The finished picture as it leaves: with what it says of itself, or withheld."""
        png = b""
        if raw.withheld:
            self._meter.picture_withheld()
        else:
            png = with_texts(raw, brand=brand, full_prompt=full_prompt, job=job, started=started, stack=stack)
            png = await self._signer.sign(png, job, stack)
            self._meter.picture_made()
        return Picture(
            index=raw.index,
            seed=raw.seed,
            width=raw.width,
            height=raw.height,
            png=png,
            sha256=hashlib.sha256(png).hexdigest() if png else "",
            withheld=raw.withheld,
        )

    async def _resolve(self, request: ImageRequest, entries: Sequence[WantedLora]) -> ResolvedStack:
        name = request.base_model or self._default_base
        registered = name if name.startswith(BASE_MODELS) else ""
        if not name:
            raise InvalidArgument.of("base_model", "is needed, for this service has no default base model")
        references = [str(entry.reference) for entry in entries]
        try:
            resolved = await self._registry.resolve_stack(request.brand, references, registered)
        except InvalidArgument as error:
            raise placed(error, request.stack, entries) from error
        except Unavailable:
            if references or registered:
                raise
            # Of such a request the registry only knows whether there is its brand.
            return ResolvedStack(loras=(), base=None)
        for lora in resolved.loras:
            if lora.family not in PICTURE_FAMILIES:
                raise FailedPrecondition(
                    f"{lora.reference} is for {lora.family} models, which make no pictures",
                    reason="LORA_BASE_MISMATCH",
                    metadata={"reference": lora.reference, "version": lora.version, "family": lora.family},
                )
        return resolved

    async def _base(self, request: ImageRequest, resolved: ResolvedStack) -> BaseRef:
        base = resolved.base or await self._local_bases.describe(self._default_base)
        if not request.base_model:
            self._default_sha256 = base.sha256
        if base.family not in PICTURE_FAMILIES:
            raise FailedPrecondition(
                f"{base.name} is a {base.family} model, which makes no pictures",
                reason="BASE_FAMILY_UNSUPPORTED",
                metadata={"base_model": base.name, "family": base.family},
            )
        # The registry compares with bases that it knows; a local one it does not.
        for lora in resolved.loras:
            if lora.base_model_sha256 not in ("", base.sha256):
                raise FailedPrecondition(
                    f"{lora.reference} was trained on another base model than {base.name}",
                    reason="LORA_BASE_MISMATCH",
                    metadata={"reference": lora.reference, "version": lora.version},
                )
        return base

    def _join_queue(self) -> _Waiting:
        if self._waiting >= self._limits.max_queued:
            raise ResourceExhausted(
                f"{self._waiting} requests wait already",
                reason="QUEUE_FULL",
                violations=[QuotaViolation("queue", f"at most {self._limits.max_queued} requests may wait")],
                retry_after_seconds=RETRY_SECONDS,
            )
        self._waiting += 1
        self._meter.queue_changed(self._waiting)
        return _Waiting(self)


def _job(
    request: ImageRequest, text: str, base: BaseRef, stack: Sequence[UsedLora], paths: dict[str, Path]
) -> ImageJob:
    return ImageJob(
        job_id=uuid.uuid4().hex,
        brand=request.brand,
        base=base,
        prompt=text,
        negative_prompt=request.negative_prompt,
        loras=tuple(
            LoraFile(
                reference=used.reference,
                sha256=used.sha256,
                path=str(paths[used.sha256]),
                text_encoder_weight=used.text_encoder_weight,
                weight=used.weight,
                window=used.window,
                region=used.region,
            )
            for used in stack
        ),
        steps=request.steps,
        guidance=request.guidance,
        sampler=request.sampler,
        karras=request.karras,
        seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        width=request.width,
        height=request.height,
        count=request.count,
        clip_skip=request.clip_skip,
        composition=request.composition,
        switch_every=request.switch_every,
        initial_image=request.initial_image,
        preview_every=request.preview_every,
        priority=request.priority,
    )
