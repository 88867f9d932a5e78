"""From an engine's job to pictures that say how they were made."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from services.inference.domain import ImageRequest
from services.inference.domain_jobs import (
    BaseRef,
    ImageJob,
    LoraFile,
    Picture,
    Preview,
    Progress,
    RawPicture,
    Started,
    UsedLora,
)
from services.inference.picture_text import with_texts
from services.inference.ports import Engine, Meter, PictureSigner
from services.inference.service_stacks import tags_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureMaker:
    """Has the engine do jobs."""

    engine: Engine
    signer: PictureSigner
    meter: Meter

    async def make(
        self,
        request: ImageRequest,
        job: ImageJob,
        stack: Sequence[UsedLora],
        on_start: Callable[[], Awaitable[None]],
    ) -> AsyncGenerator[Progress | Preview | Picture, None]:
        """The job's events; ``on_start`` is called at its first step. ``stack`` is what the job's LoRAs are.

        Raises what Engine.generate raises.
        """
        started: Started | None = None
        steps = 0
        async with aclosing(self.engine.generate(job)) as events:
            async for event in events:
                if isinstance(event, Started):
                    started = event
                    await on_start()
                    self.meter.stack_attached(event.attach_seconds)
                elif isinstance(event, RawPicture):
                    assert started is not None
                    yield await self._finished(event, request, job, started, stack)
                else:
                    if isinstance(event, Progress):
                        self.meter.rows_stepped(request.brand, event.step - steps)
                        steps = event.step
                    assert isinstance(event, Progress | Preview)
                    yield event

    async def _finished(
        self,
        raw: RawPicture,
        request: ImageRequest,
        job: ImageJob,
        started: Started,
        stack: Sequence[UsedLora],
    ) -> Picture:
        """The picture as it leaves: with what it says of itself, or withheld."""
        if raw.withheld:
            self.meter.picture_withheld(request.brand)
            return _picture(raw, b"")
        tags = tags_of(request.stack)
        png = with_texts(
            raw,
            brand=request.brand,
            full_prompt=f"{request.prompt} {tags}" if tags else request.prompt,
            job=job,
            started=started,
            stack=stack,
        )
        png = await self.signer.sign(png, job, stack)
        self.meter.picture_made(request.brand)
        return _picture(raw, png)


def image_job(
    request: ImageRequest, text: str, seed: int, base: BaseRef, loras: tuple[LoraFile, ...]
) -> ImageJob:
    """The request as the engine takes it; ``text`` is its prompt without tags."""
    return ImageJob(
        job_id=uuid.uuid4().hex,
        brand=request.brand,
        base=base,
        prompt=text,
        negative_prompt=request.negative_prompt,
        loras=loras,
        steps=request.steps,
        guidance=request.guidance,
        sampler=request.sampler,
        karras=request.karras,
        seed=seed,
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


def _picture(raw: RawPicture, png: bytes) -> Picture:
    return Picture(
        index=raw.index,
        seed=raw.seed,
        width=raw.width,
        height=raw.height,
        png=png,
        sha256=hashlib.sha256(png).hexdigest() if png else "",
        withheld=raw.withheld,
    )
