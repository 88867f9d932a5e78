"""The work of one label job: batch after batch of pictures to the captioner, and their captions into the
records.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import datetime

from servicekit.artifacts.port import ArtifactStore
from servicekit.errors import DataLoss, NotFound
from servicekit.ids import new_id
from services.labeler import captions, job_rules
from services.labeler.domain import (
    MAX_CAPTION_CHARACTERS,
    CaptionSource,
    Failure,
    Image,
    JobState,
    LabeledImage,
    LabelJob,
    LabelProgress,
)
from services.labeler.job_rules import Step
from services.labeler.ports import Captioner, CaptionerError, Meter, Records, Unit
from services.labeler.service_lease import CancelAskedError, Hold


class LabelWork:
    """Captions what a job asks for."""

    def __init__(
        self, records: Records, store: ArtifactStore, captioner: Captioner, meter: Meter, hold: Hold
    ) -> None:
        self._records = records
        self._store = store
        self._captioner = captioner
        self._meter = meter
        self._hold = hold
        self._seconds = 0.0
        self._pictures = 0

    async def run(self) -> LabelJob:
        """Labels until nothing is left; returns the job in its final state.

        CaptionerError when the captioner cannot be used at all, CancelAskedError between two batches.
        """
        await self._captioner.prepare()
        job = await self._hold.change(self._begin)
        while batch := await self._next(job):
            started = time.perf_counter()
            answers = await self._answers(batch, job.max_tokens)
            self._seconds += time.perf_counter() - started
            self._pictures += len(batch)
            self._meter.captioned(
                sum(isinstance(answer, str) for answer in answers), time.perf_counter() - started
            )
            job = await self._write(batch, answers)
            if job.state is JobState.CANCELLING:
                raise CancelAskedError
        return await self._hold.change(_finish)

    async def _begin(self, unit: Unit, job: LabelJob, now: datetime) -> Step:
        if job.state is JobState.CANCELLING:
            raise CancelAskedError
        progress = LabelProgress(
            done=job.progress.done,
            failed=job.progress.failed,
            total=job.progress.done + job.progress.failed + await unit.images.count_to_label(job),
        )
        begun = dataclasses.replace(job, progress=progress, captioner=self._captioner.name)
        return job_rules.told(begun, now, JobState.RUNNING, progress)

    async def _next(self, job: LabelJob) -> list[Image]:
        async with self._records.snapshot() as unit:
            return await unit.images.to_label(job, job.batch_size)

    async def _answers(self, batch: Sequence[Image], max_tokens: int) -> list[str | Failure]:
        contents = [await self._png(image) for image in batch]
        pngs = [content for content in contents if isinstance(content, bytes)]
        texts = iter(await self._captions(pngs, max_tokens))
        return [next(texts) if isinstance(content, bytes) else content for content in contents]

    async def _png(self, image: Image) -> bytes | Failure:
        try:
            return await self._store.get_bytes(image.sha256, max_bytes=image.size_bytes)
        except (NotFound, DataLoss) as error:
            return Failure("PICTURE_LOST", f"the stored picture cannot be read: {error.message}")

    async def _captions(self, pngs: Sequence[bytes], max_tokens: int) -> list[str | Failure]:
        """A caption for each picture. One that the captioner fails over does not take its batch along."""
        if not pngs:
            return []
        try:
            return list(await self._captioner.caption(pngs, max_tokens=max_tokens))
        except CaptionerError as error:
            if len(pngs) == 1:
                return [error.failure]
        answers: list[str | Failure] = []
        for png in pngs:
            await self._captioner.prepare()  # it may have died, and then has to come back
            answers += await self._captions([png], max_tokens)
        return answers

    async def _write(self, batch: Sequence[Image], answers: Sequence[str | Failure]) -> LabelJob:
        async def step(unit: Unit, job: LabelJob, now: datetime) -> Step:
            labeled = []
            for image, answer in zip(batch, answers, strict=True):
                current = await unit.images.find(image.key, lock=True)
                if current is None:
                    continue
                changed, told = _labeled(current, answer, job, now)
                await unit.images.replace(changed)
                labeled += told
            remaining = await unit.images.count_to_label(job)
            speed = self._pictures / self._seconds if self._seconds else 0.0
            return job_rules.advanced(job, now, labeled, remaining, speed)

        failed = sum(isinstance(answer, Failure) for answer in answers)
        if failed:
            self._meter.caption_failed(failed)
        return await self._hold.change(step)


def _labeled(
    image: Image, answer: str | Failure, job: LabelJob, now: datetime
) -> tuple[Image, list[LabeledImage]]:
    """The picture after the job dealt with it. Captions that came in the meantime stay, a reviewer's above
    all.
    """
    seen = dataclasses.replace(image, label_job=job.key.job)
    if image.caption_source is CaptionSource.REVIEWER or (image.caption and not job.overwrite):
        return seen, []
    if isinstance(answer, Failure):
        return seen, [LabeledImage(image.key.name, failure=answer)]
    caption = captions.with_trigger(answer, job.trigger_word)[:MAX_CAPTION_CHARACTERS]
    if not caption:
        failure = Failure("CAPTION_EMPTY", "the captioner had nothing to say about this picture")
        return seen, [LabeledImage(image.key.name, failure=failure)]
    captioned = dataclasses.replace(
        seen,
        caption=caption,
        caption_source=CaptionSource.CAPTIONER,
        update_time=now,
        etag=new_id(),
    )
    return captioned, [LabeledImage(image.key.name, caption)]


async def _finish(_: Unit, job: LabelJob, now: datetime) -> Step:
    if job.state is JobState.CANCELLING:
        raise CancelAskedError
    if job.progress.failed and not job.progress.done:
        message = f"none of {job.progress.failed} pictures could be captioned; the job's events say why"
        return job_rules.ended(job, now, JobState.FAILED, Failure("ALL_PICTURES_FAILED", message))
    return job_rules.ended(job, now, JobState.SUCCEEDED)
