"""The denoising batch: jobs wait, their rows join between steps, finished rows become pictures.

One request is a batch of one. A step takes every bucket one step further; whatever goes wrong with a job's
own inputs fails that job alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from lorakit.families import sd15
from services.inference.domain_jobs import EngineEvent, ImageJob, Progress, RawPicture
from services.inference.engine.bases import LoadedBase
from services.inference.engine.bucket import BatchRow, Bucket
from services.inference.engine.errors import JobError, internal_failure
from services.inference.engine.pictures import encode_png
from services.inference.engine.preparation import BucketKey, Preparation, Prepared
from services.inference.engine_messages import Failure

PROGRESS_SECONDS = 0.1
"""Least time between two words about one job's progress."""
DECODED_AT_ONCE = 4
"""Pictures that pass the autoencoder together: it needs far more memory a row than the UNet."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFigures:
    """What one round of steps did."""

    rows: int
    forward_rows: int
    seconds: float


@dataclass(slots=True, eq=False)
class _Job:
    job: ImageJob
    prepared: Prepared | None = None
    joined: int = 0
    """Rows that have joined the batch so far."""
    active: int = 0
    finished: int = 0
    steps_done: int = 0
    told_at: float = 0.0
    broken_row: int | None = None
    """A picture that came out as numbers that are not finite."""

    @property
    def total_steps(self) -> int:
        """Denoising steps over all its pictures."""
        return self.job.steps * self.job.count


@dataclass(slots=True)
class DenoisingBatch:
    """The engine's loop body; the caller calls ``step`` for as long as there is work."""

    preparation: Preparation
    max_rows: int
    emit: Callable[[str, EngineEvent], None]
    """(job id, event)"""
    finish: Callable[[str, Failure | None], None]
    """(job id, why it failed or None)"""
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _buckets: dict[BucketKey, Bucket] = field(default_factory=dict)
    _row_step_seconds: float = 0.0

    @property
    def active_rows(self) -> int:
        """Rows in the batch."""
        return sum(len(bucket.rows) for bucket in self._buckets.values())

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._jobs)

    def submit(self, job: ImageJob) -> None:
        """Queue a job."""
        self._jobs[job.job_id] = _Job(job)

    def cancel(self, job_id: str) -> None:
        """Forget a job and its rows; unknown ones are fine, for it may just have ended."""
        if self._jobs.pop(job_id, None) is not None:
            self._remove_rows(job_id)

    def step(self) -> StepFigures | None:
        """Let rows join, take one step in every bucket, and hand out what is done; None if there were no
        rows.
        """
        self._admit()
        started = time.perf_counter()
        rows = self.active_rows
        forward_rows = sum(row.copies for bucket in self._buckets.values() for row in bucket.rows)
        for key, bucket in list(self._buckets.items()):
            self._step_bucket(key, bucket)
        if rows == 0:
            return None
        seconds = time.perf_counter() - started
        self._row_step_seconds = seconds
        self._tell_progress()
        return StepFigures(rows=rows, forward_rows=forward_rows, seconds=seconds)

    def _admit(self) -> None:
        """Fill free rows: the job with the fewest rows in the batch is next, so that none holds up the
        others.
        """
        while self.active_rows < self.max_rows:
            waiting = [job for job in self._jobs.values() if job.joined < job.job.count]
            if not waiting:
                return
            job = min(waiting, key=lambda entry: entry.active)
            try:
                if job.prepared is None:
                    job.prepared = self.preparation.prepare(job.job)
                    self.emit(job.job.job_id, job.prepared.started())
                self._join(job, job.prepared)
            except JobError as error:
                self._fail(job.job.job_id, error.failure)
            except Exception as error:
                _log.exception("a job could not be prepared")
                self._fail(
                    job.job.job_id, internal_failure(f"the job could not be prepared: {_first_line(error)}")
                )

    def _join(self, entry: _Job, prepared: Prepared) -> None:
        bucket = self._buckets.get(prepared.bucket_key)
        if bucket is None:
            bucket = self._buckets[prepared.bucket_key] = Bucket(prepared.base)
        bucket.join(prepared.row(entry.joined))
        entry.joined += 1
        entry.active += 1

    def _step_bucket(self, key: BucketKey, bucket: Bucket) -> None:
        rows = list(bucket.rows)
        try:
            bucket.step()
            self._count_step(rows)
            done = [row for row in rows if row.sampling.done]
            for start in range(0, len(done), DECODED_AT_ONCE):
                self._hand_out(bucket.base, done[start : start + DECODED_AT_ONCE])
        except Exception as error:
            # Out of memory, most likely: the rows of this bucket are lost, the engine is not.
            _log.exception("a step failed")
            failure = internal_failure(
                f"a denoising step failed: {_first_line(error)}", reason="ENGINE_STEP_FAILED"
            )
            for job_id in {row.job_id for row in rows}:
                self._fail(job_id, failure)
            return
        bucket.leave(done)
        for row in done:
            self._row_done(row)
        if not bucket.rows:
            self._buckets.pop(key, None)

    def _count_step(self, rows: list[BatchRow]) -> None:
        for row in rows:
            self._jobs[row.job_id].steps_done += 1
        for job_id in {row.job_id for row in rows}:
            entry = self._jobs[job_id]
            if entry.steps_done == entry.total_steps:
                total = entry.total_steps
                self.emit(job_id, Progress(step=total, total_steps=total, seconds_left=0.0))

    @torch.inference_mode()
    def _hand_out(self, base: LoadedBase, rows: list[BatchRow]) -> None:
        latents_BCHW = torch.stack([row.sampling.latents_CHW for row in rows])
        pictures_BCHW = sd15.decode_latents(base.model, latents_BCHW)
        for row, picture_CHW in zip(rows, pictures_BCHW, strict=True):
            if not torch.isfinite(picture_CHW).all():
                self._jobs[row.job_id].broken_row = row.index
                continue
            height, width = picture_CHW.shape[1:]
            self.emit(
                row.job_id,
                RawPicture(
                    index=row.index, seed=row.seed, width=width, height=height, png=encode_png(picture_CHW)
                ),
            )

    def _row_done(self, row: BatchRow) -> None:
        entry = self._jobs.get(row.job_id)
        if entry is None:
            return
        if entry.broken_row is not None:
            self._fail(
                row.job_id,
                Failure(
                    kind="FailedPrecondition",
                    reason="PICTURE_NOT_FINITE",
                    message="the picture came out as numbers that are not finite; weights are too strong, or "
                    "the dtype too narrow",
                    metadata={"index": str(entry.broken_row)},
                ),
            )
            return
        entry.active -= 1
        entry.finished += 1
        if entry.finished == entry.job.count:
            del self._jobs[row.job_id]
            self.finish(row.job_id, None)

    def _tell_progress(self) -> None:
        now = time.monotonic()
        for entry in self._jobs.values():
            total = entry.total_steps
            if entry.steps_done in (0, total) or now - entry.told_at < PROGRESS_SECONDS:
                continue
            entry.told_at = now
            rounds = (total - entry.steps_done) / max(entry.active, 1)
            self.emit(
                entry.job.job_id,
                Progress(
                    step=entry.steps_done,
                    total_steps=total,
                    seconds_left=rounds * self._row_step_seconds,
                ),
            )

    def _fail(self, job_id: str, failure: Failure) -> None:
        if self._jobs.pop(job_id, None) is not None:
            self._remove_rows(job_id)
            self.finish(job_id, failure)

    def _remove_rows(self, job_id: str) -> None:
        for key, bucket in list(self._buckets.items()):
            bucket.leave([row for row in bucket.rows if row.job_id == job_id])
            if not bucket.rows:
                del self._buckets[key]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
