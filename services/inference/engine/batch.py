"""The denoising batch: jobs wait, their rows join between steps, finished rows leave to be decoded.

One request is a batch of one. A step takes every bucket one step further; whatever goes wrong with a job's
own inputs fails that job alone. Files, texts and pictures are dealt with on other threads: what those have to
say, and what callers want, comes through one inbox, and the loop alone changes the batch.
"""

from __future__ import annotations

import itertools
import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from lorakit.device_memory import is_out_of_memory, release_unused
from services.inference.domain_jobs import EngineEvent, ImageJob, Preview, RawPicture
from services.inference.engine.admission import Room, Turns
from services.inference.engine.bucket import Bucket
from services.inference.engine.decoding import Decoder
from services.inference.engine.errors import step_failure, too_large
from services.inference.engine.picture_jobs import PictureJob, StepFigures
from services.inference.engine.preparation import BucketKey, Preparation, Prepared
from services.inference.engine.preparer import Preparer
from services.inference.engine.previews import Previewer
from services.inference.engine.row_memory import RowMemory
from services.inference.engine.rows import BatchRow
from services.inference.engine.safety import SafetyChecker
from services.inference.engine_messages import Failure

PROGRESS_SECONDS = 0.1
"""Least time between two words about one job's progress."""
LEAST_PREPARED = 4
"""Jobs of one base that are made ready ahead, or as many as the batch has rows if that is more."""
UNDECODED = 4
"""Times the rows of the batch: where so many wait to be decoded, no others join."""
_log = logging.getLogger(__name__)


class DenoisingBatch:
    """The engine's loop body; the caller calls ``step`` for as long as there is work."""

    def __init__(
        self,
        preparation: Preparation,
        *,
        max_rows: int,
        row_memory: RowMemory,
        safety: SafetyChecker,
        emit: Callable[[str, EngineEvent], None],
        finish: Callable[[str, Failure | None], None],
    ) -> None:
        """``emit`` is given (job id, event), from several threads; ``finish`` (job id, why it failed or
        None).
        """
        self._max_rows = max_rows
        self._row_memory = row_memory
        self._bases = preparation.bases
        self._emit = emit
        self._finish = finish
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.preparer = Preparer(
            preparation, partial(self._later, self._ready), wanted=lambda job_id: job_id in self._jobs
        )
        self.decoder = Decoder(partial(self._later, self._decoded), safety)
        self._previewer = Previewer(partial(self._later, self._previewed), safety)
        self._jobs: dict[str, PictureJob] = {}
        self._buckets: dict[BucketKey, Bucket] = {}
        self.row_bytes: dict[BucketKey, int] = {}
        """What a forward row takes at its peak, once one has been through."""
        self._turns = Turns()
        self._arrivals = itertools.count()
        self._step_seconds = 0.0

    def close(self) -> None:
        """Let the threads end; jobs that are not finished are forgotten."""
        self.preparer.close()
        self.decoder.close()
        self._previewer.close()

    @property
    def active_rows(self) -> int:
        """Rows in the batch."""
        return sum(len(bucket.rows) for bucket in self._buckets.values())

    @property
    def has_work(self) -> bool:
        """Whether there is a job, or word of one."""
        return bool(self._jobs) or not self._inbox.empty()

    def submit(self, job: ImageJob) -> None:
        """Queue a job; from any thread."""
        self._inbox.put(partial(self._queue, job))

    def cancel(self, job_id: str) -> None:
        """Forget a job and its rows before the next step; unknown ones are fine, for it may just have ended.
        From any thread.
        """
        self._inbox.put(partial(self._drop, job_id))

    def step(self, *, idle_seconds: float = 1.0) -> StepFigures | None:
        """Take in what is new, let rows join, and take one step in every bucket.

        None if there were no rows; then it has waited for news, so many seconds at most.
        """
        self._take_in(idle_seconds)
        self._prepare()
        self._admit()
        rows = self.active_rows
        if rows == 0:
            return None
        forward_rows = sum(bucket.forward_rows for bucket in self._buckets.values())
        started = time.perf_counter()
        for key, bucket in list(self._buckets.items()):
            self._step_bucket(key, bucket)
        self._step_seconds = time.perf_counter() - started
        self._tell_progress()
        return StepFigures(rows=rows, forward_rows=forward_rows, seconds=self._step_seconds)

    def _take_in(self, idle_seconds: float) -> None:
        idle = not self._buckets
        while True:
            try:
                news = self._inbox.get(block=idle, timeout=idle_seconds)
            except queue.Empty:
                return
            idle = False
            news()

    def _later(self, heed: Callable[..., None], *words: object) -> None:
        """Have the loop heed what another thread says."""
        self._inbox.put(partial(heed, *words))

    def _queue(self, job: ImageJob) -> None:
        self._jobs[job.job_id] = PictureJob(job, next(self._arrivals))

    def _drop(self, job_id: str) -> None:
        if self._jobs.pop(job_id, None) is not None:
            self._remove_rows(job_id)

    def _ready(self, job_id: str, prepared: Prepared | Failure) -> None:
        entry = self._jobs.get(job_id)
        if isinstance(prepared, Failure):
            self._fail(job_id, prepared)
        elif entry is not None:
            entry.prepared = prepared

    def _decoded(self, row: BatchRow, picture: RawPicture | Failure) -> None:
        entry = self._jobs.get(row.job_id)
        if entry is None:
            return
        if isinstance(picture, Failure):
            self._fail(row.job_id, picture)
            return
        self._emit(row.job_id, picture)
        entry.finished += 1
        if entry.finished == entry.job.count:
            del self._jobs[row.job_id]
            self._finish(row.job_id, None)

    def _previewed(self, job_id: str, preview: Preview) -> None:
        if job_id in self._jobs:
            self._emit(job_id, preview)

    def _prepare(self) -> None:
        """Have the jobs made ready that are to join next."""
        ahead = [entry for entry in self._jobs.values() if entry.preparing and entry.joined == 0]
        rows = self._rows_of_brands()
        rows.update(entry.job.brand for entry in ahead)
        # Counted by base: one that takes minutes to load holds up no jobs of others.
        of_base = Counter(entry.job.base.sha256 for entry in ahead)
        most = max(self._max_rows, LEAST_PREPARED)
        waiting = [entry for entry in self._jobs.values() if not entry.preparing]
        while waiting := [entry for entry in waiting if of_base[entry.job.base.sha256] < most]:
            entry = self._turns.next(waiting, rows)
            assert entry is not None
            waiting.remove(entry)
            rows[entry.job.brand] += 1
            of_base[entry.job.base.sha256] += 1
            entry.preparing = True
            self.preparer.take(entry.job)

    def _admit(self) -> None:
        """Fill the batch, unless the decoder has fallen behind."""
        undecoded = sum(entry.undecoded for entry in self._jobs.values())
        if undecoded >= UNDECODED * self._max_rows:
            return
        room = self._room()
        rows = self._rows_of_brands()
        while entry := self._turns.next((job for job in self._jobs.values() if job.waits), rows):
            prepared = entry.prepared
            assert prepared is not None
            key = prepared.bucket_key
            # Until the first row has been through, nobody knows what a second one takes.
            if key in self._buckets and key not in self.row_bytes:
                return
            size_bytes = prepared.forward_rows * self.row_bytes.get(key, 0)
            if room.never_has(size_bytes):
                self._fail(entry.job.job_id, too_large(prepared.forward_rows, size_bytes, room.max_bytes))
                continue
            if not room.has(prepared.branches, size_bytes):
                return
            room.take(prepared.branches, size_bytes)
            rows[entry.job.brand] += prepared.branches
            self._join(entry, prepared)

    def _room(self) -> Room:
        """What the batch may hold, and what it holds of that."""
        bases = frozenset(base.sha256 for base in self._bases.held())
        room = Room(self._max_rows, self._row_memory.bytes(bases, idle=not self._buckets))
        for key, bucket in self._buckets.items():
            for row in bucket.rows:
                of_row = self._prepared(row)
                room.take(of_row.branches, of_row.forward_rows * self.row_bytes.get(key, 0))
        return room

    def _join(self, entry: PictureJob, prepared: Prepared) -> None:
        bucket = self._buckets.get(prepared.bucket_key)
        if bucket is None:
            bucket = Bucket(prepared.base, forward_row_bytes=self.row_bytes.get(prepared.bucket_key, 0))
            self._buckets[prepared.bucket_key] = bucket
        if entry.joined == 0:
            self._emit(entry.job.job_id, prepared.started())
        self._turns.serve(entry.job.brand)
        bucket.join(prepared.row(entry.joined))
        entry.joined += 1
        entry.active += 1

    def _step_bucket(self, key: BucketKey, bucket: Bucket) -> None:
        rows = list(bucket.rows)
        try:
            bucket.step()
        except Exception as error:
            self._lose(bucket, error)
            return
        self.row_bytes[key] = bucket.forward_row_bytes
        self._count_step(rows)
        done = [row for row in rows if row.sampling.done]
        bucket.leave(done)
        for row in done:
            self._jobs[row.job_id].active -= 1
        self.decoder.take(bucket.base, done)
        if not bucket.rows:
            self._buckets.pop(key, None)

    def _lose(self, bucket: Bucket, error: Exception) -> None:
        """Out of memory, most likely: the rows of this bucket are lost, the engine is not."""
        _log.error("a step failed", exc_info=error)
        jobs = {row.job_id for row in bucket.rows}
        failure = step_failure(error, forward_rows=bucket.forward_rows, alone=len(jobs) == 1)
        device = bucket.base.model.device
        for job_id in jobs:
            self._fail(job_id, failure)
        if is_out_of_memory(error):
            release_unused(device)

    def _count_step(self, rows: Sequence[BatchRow]) -> None:
        for row in rows:
            self._jobs[row.job_id].steps_done += 1
            self._previewer.take(row)
        for job_id in {row.job_id for row in rows}:
            entry = self._jobs[job_id]
            if entry.steps_done == entry.total_steps:
                self._emit(job_id, entry.progress(self._step_seconds))

    def _tell_progress(self) -> None:
        now = time.monotonic()
        for entry in self._jobs.values():
            if entry.steps_done in (0, entry.total_steps) or now - entry.told_at < PROGRESS_SECONDS:
                continue
            entry.told_at = now
            self._emit(entry.job.job_id, entry.progress(self._step_seconds))

    def _fail(self, job_id: str, failure: Failure) -> None:
        if self._jobs.pop(job_id, None) is not None:
            self._remove_rows(job_id)
            self._finish(job_id, failure)

    def _remove_rows(self, job_id: str) -> None:
        for key, bucket in list(self._buckets.items()):
            bucket.leave([row for row in bucket.rows if row.job_id == job_id])
            if not bucket.rows:
                del self._buckets[key]

    def _rows_of_brands(self) -> Counter[str]:
        rows: Counter[str] = Counter()
        for bucket in self._buckets.values():
            for row in bucket.rows:
                rows[self._jobs[row.job_id].job.brand] += self._prepared(row).branches
        return rows

    def _prepared(self, row: BatchRow) -> Prepared:
        prepared = self._jobs[row.job_id].prepared
        assert prepared is not None
        return prepared
