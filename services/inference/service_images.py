"""Use case: pictures with a stack."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing

from services.inference.domain import MAX_SEED, PICTURE_FAMILIES, ImageRequest, Limits
from services.inference.domain_jobs import (
    BaseRef,
    ImageEvent,
    ImageJob,
    Picture,
    Preview,
    Progress,
    RawPicture,
    Started,
)
from services.inference.picture_text import with_texts
from services.inference.ports import Engine, Meter
from services.inference.service_admission import Admission, Admitted, Prepared
from services.inference.service_resolving import Wanted
from services.inference.service_stacks import read_stack, tags_of


class ImageCases:
    """Resolves what a request names, has the engine make its pictures, and says what they were made from."""

    def __init__(self, *, admission: Admission, engine: Engine, meter: Meter, limits: Limits) -> None:
        self._admission = admission
        self._engine = engine
        self._meter = meter
        self._limits = limits

    async def generate(self, request: ImageRequest) -> AsyncIterator[ImageEvent]:
        """Queued, then progress and pictures in the order in which they get done.

        Raises InvalidArgument, NotFound, FailedPrecondition and Unavailable.
        """
        request.check(self._limits)
        text, loras = read_stack(request.prompt, request.stack, self._limits.max_stack)
        wanted = Wanted(
            brand=request.brand,
            base_model=request.base_model,
            given=request.stack,
            loras=loras,
            families=PICTURE_FAMILIES,
        )
        async with self._admission.admit(wanted) as admitted:
            seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
            yield admitted.queued(seed)
            base = await admitted.prepared.located_base()
            job = image_job(request, text, seed, base, admitted.prepared)
            async for event in self._run(request, job, admitted):
                yield event

    async def _run(
        self, request: ImageRequest, job: ImageJob, admitted: Admitted
    ) -> AsyncIterator[ImageEvent]:
        tags = tags_of(request.stack)
        full_prompt = f"{request.prompt} {tags}" if tags else request.prompt
        started: Started | None = None
        steps = 0
        async with aclosing(self._engine.generate(job)) as events:
            async for event in events:
                if isinstance(event, Started):
                    started = event
                    await admitted.started()
                    self._meter.stack_attached(event.attach_seconds)
                elif isinstance(event, RawPicture):
                    assert started is not None
                    png = b""
                    if not event.withheld:
                        png = with_texts(
                            event,
                            brand=request.brand,
                            full_prompt=full_prompt,
                            job=job,
                            started=started,
                            stack=admitted.prepared.resolution.stack,
                        )
                    self._meter.picture_made(request.brand)
                    yield _picture(event, png)
                else:
                    if isinstance(event, Progress):
                        self._meter.rows_stepped(request.brand, event.step - steps)
                        steps = event.step
                    assert isinstance(event, Progress | Preview)
                    yield event


def image_job(request: ImageRequest, text: str, seed: int, base: BaseRef, prepared: Prepared) -> ImageJob:
    """The request as the engine takes it; ``text`` is its prompt without tags."""
    return ImageJob(
        job_id=uuid.uuid4().hex,
        brand=request.brand,
        base=base,
        prompt=text,
        negative_prompt=request.negative_prompt,
        loras=prepared.lora_files,
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
        sha256=hashlib.sha256(png).hexdigest(),
        withheld=raw.withheld,
    )
