"""The texts' loop: jobs wait, get prepared, join the batch of their base, and go on together token by token.

Whatever goes wrong with a job's own inputs fails that job alone.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from services.inference.domain_texts import TextEngineEvent, TextJob, TextPiece, TextStarted
from services.inference.engine.admission import Turns
from services.inference.engine.errors import JobError, first_line, internal_failure
from services.inference.engine.text_batch import Scored, TextBatch
from services.inference.engine.text_preparation import PreparedText, TextPreparation
from services.inference.engine.text_rows import TextRow
from services.inference.engine.text_sampling import finite_rows
from services.inference.engine_messages import Failure

PREPARING_THREADS = 4
PREPARING_OF_ONE_BASE = 2
"""A base that takes long to load is not to hold up the texts of others."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFigures:
    """What one round did."""

    rows: int
    """Texts in the batches."""
    prompt_tokens: int
    tokens: Mapping[str, int]
    """Brand -> tokens generated."""
    seconds: float


@dataclass(slots=True, eq=False)
class _Job:
    job: TextJob
    arrival: int
    preparing: Future[PreparedText] | None = None
    prepared: PreparedText | None = None
    row: TextRow | None = None

    @property
    def active(self) -> int:
        return 0 if self.row is None else 1


@dataclass(slots=True)
class TextLoop:
    """The loop's body; the caller calls ``step`` for as long as there is work. One thread's own."""

    preparation: TextPreparation
    max_rows: int
    emit: Callable[[str, TextEngineEvent], None]
    """(job id, event)"""
    finish: Callable[[str, Failure | None], None]
    """(job id, why it failed or None)"""
    wake: threading.Event = field(default_factory=threading.Event)
    """Set whenever a job that was being prepared is through: a step would do something."""
    _jobs: dict[str, _Job] = field(default_factory=dict)
    """In the order of arrival."""
    _batches: dict[str, TextBatch] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="prepare-text")
    )
    _tokens: Counter[str] = field(default_factory=Counter)
    _turns: Turns = field(default_factory=Turns)
    _arrivals: Iterator[int] = field(default_factory=itertools.count)

    @property
    def active_rows(self) -> int:
        """Rows in the batches."""
        return sum(len(batch.rows) for batch in self._batches.values())

    @property
    def used_bytes(self) -> int:
        """Bytes that keys and values take."""
        return sum(batch.used_bytes for batch in self._batches.values())

    @property
    def has_work(self) -> bool:
        """Whether there is any job."""
        return bool(self._jobs)

    def submit(self, job: TextJob) -> None:
        """Queue a job."""
        self._jobs[job.job_id] = _Job(job, next(self._arrivals))

    def cancel(self, job_id: str) -> None:
        """Forget a job and its row; unknown ones are fine, for it may just have ended."""
        self._remove(job_id)

    def step(self) -> TextFigures | None:
        """Let texts join, take each one token further, and pass a part of the prompts; None if there were
        no rows.
        """
        self._prepare()
        self._admit()
        rows = self.active_rows
        if rows == 0:
            return None
        started, prompt_tokens = time.perf_counter(), 0
        self._tokens = Counter()
        for batch in list(self._batches.values()):
            self._pass(batch.decoding_rows, batch.decode)
            prompts = batch.prompt_rows()
            prompt_tokens += self._pass(prompts, batch.pass_prompts)
        return TextFigures(
            rows=rows,
            prompt_tokens=prompt_tokens,
            tokens=dict(self._tokens),
            seconds=time.perf_counter() - started,
        )

    def _prepare(self) -> None:
        """Give the threads work, and take what they have done."""
        for entry in list(self._jobs.values()):
            if entry.preparing is not None and entry.preparing.done():
                self._take_prepared(entry, entry.preparing)
        while True:
            busy = Counter(
                entry.job.base.sha256 for entry in self._jobs.values() if entry.preparing is not None
            )
            ahead = sum(entry.prepared is not None and entry.row is None for entry in self._jobs.values())
            if busy.total() >= PREPARING_THREADS or ahead + busy.total() >= self.max_rows + PREPARING_THREADS:
                return
            waiting = (
                entry
                for entry in self._jobs.values()
                if entry.preparing is None
                and entry.prepared is None
                and busy[entry.job.base.sha256] < PREPARING_OF_ONE_BASE
            )
            chosen = self._turns.next(waiting, self._rows_of_brand(prepared_too=True))
            if chosen is None:
                return
            chosen.preparing = self._threads.submit(self.preparation.prepare, chosen.job)
            chosen.preparing.add_done_callback(lambda _: self.wake.set())

    def _take_prepared(self, entry: _Job, preparing: Future[PreparedText]) -> None:
        entry.preparing = None
        try:
            entry.prepared = preparing.result()
        except JobError as error:
            self._fail(entry.job.job_id, error.failure)
        except Exception as error:
            _log.exception("a text could not be prepared")
            self._fail(
                entry.job.job_id, internal_failure(f"the job could not be prepared: {first_line(error)}")
            )

    def _admit(self) -> None:
        """Fill free rows with texts that are prepared, in turn; who is next waits for room, and all others
        behind.
        """
        while self.active_rows < self.max_rows:
            waiting = (entry for entry in self._jobs.values() if entry.prepared and entry.row is None)
            entry = self._turns.next(waiting, self._rows_of_brand())
            if entry is None or entry.prepared is None or not self._has_room(entry.prepared):
                return
            batch = self._batches.get(entry.prepared.base.sha256)
            if batch is None:
                batch = self._batches[entry.prepared.base.sha256] = TextBatch(entry.prepared.base)
            row = TextRow.start(entry.prepared)
            try:
                batch.join(row)
            except Exception as error:
                _log.exception("a text could not join")
                self._fail(entry.job.job_id, internal_failure(f"no room for the text: {first_line(error)}"))
                continue
            self._turns.serve(entry.job.brand)
            entry.row = row
            self.emit(entry.job.job_id, TextStarted(prompt_tokens=len(entry.prepared.prompt_ids)))

    def _has_room(self, prepared: PreparedText) -> bool:
        if self._room_with(prepared) <= self.preparation.budget_bytes:
            return True
        for batch in self._batches.values():
            batch.trim()
        return self._room_with(prepared) <= self.preparation.budget_bytes

    def _room_with(self, prepared: PreparedText) -> int:
        rooms = {sha256: batch.room for sha256, batch in self._batches.items()}
        batch = self._batches.get(prepared.base.sha256) or TextBatch(prepared.base)
        return sum((rooms | {prepared.base.sha256: batch.room_with(prepared)}).values())

    def _pass(self, rows: Sequence[TextRow], run: Callable[[Sequence[TextRow]], Scored]) -> int:
        """One pass over rows of a batch, and what follows from it; the tokens of prompts in it."""
        if not rows:
            return 0
        try:
            scored = run(rows)
        except Exception as error:
            # Out of memory, most likely: the rows of this pass are lost, the engine is not.
            _log.exception("a pass failed")
            failure = internal_failure(f"a step failed: {first_line(error)}", reason="ENGINE_STEP_FAILED")
            for row in rows:
                self._fail(row.job_id, failure)
            return 0
        if scored.rows:
            self._take_tokens(scored)
        return scored.prompt_tokens

    @torch.inference_mode()
    def _take_tokens(self, scored: Scored) -> None:
        chosen: list[tuple[TextRow, torch.Tensor]] = []
        for row, scores_V, finite in zip(
            scored.rows, scored.scores_BV, finite_rows(scored.scores_BV), strict=True
        ):
            try:
                if not finite:
                    raise _not_finite()
                chosen.append((row, row.choose(scores_V)))
            except JobError as error:
                self._fail(row.job_id, error.failure)
        if not chosen:
            return
        # One wait for the device, whatever the number of rows.
        tokens: list[int] = torch.stack([token for _, token in chosen]).tolist()
        for (row, _), token in zip(chosen, tokens, strict=True):
            self._take_token(row, token)

    def _take_token(self, row: TextRow, token: int) -> None:
        self._tokens[row.prepared.job.brand] += 1
        try:
            text, reason = row.take(token)
        except JobError as error:
            self._fail(row.job_id, error.failure)
            return
        if text:
            self.emit(row.job_id, TextPiece(text=text))
        if reason is not None:
            self.emit(row.job_id, row.finished(reason))
            self._remove(row.job_id)
            self.finish(row.job_id, None)

    def _rows_of_brand(self, *, prepared_too: bool = False) -> Counter[str]:
        return Counter(
            entry.job.brand
            for entry in self._jobs.values()
            if entry.row is not None or (prepared_too and (entry.prepared or entry.preparing))
        )

    def _fail(self, job_id: str, failure: Failure) -> None:
        if self._remove(job_id):
            self.finish(job_id, failure)

    def _remove(self, job_id: str) -> bool:
        entry = self._jobs.pop(job_id, None)
        if entry is not None and entry.preparing is not None:
            entry.preparing.cancel()
        if entry is not None and entry.row is not None:
            sha256 = entry.row.prepared.base.sha256
            self._batches[sha256].leave(entry.row)
            if not self._batches[sha256].rows:
                del self._batches[sha256]
        return entry is not None


def _not_finite() -> JobError:
    return JobError(
        "the text's scores came out as numbers that are not finite; weights are too strong, or the dtype too "
        "narrow",
        reason="TEXT_NOT_FINITE",
    )
