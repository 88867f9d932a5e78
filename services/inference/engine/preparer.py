"""Prepares jobs beside the denoising loop.

Two threads: a base model may take minutes to load, which holds up only the jobs that need one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from services.inference.domain_jobs import BaseRef, ImageJob
from services.inference.engine.errors import JobError, first_line, internal_failure
from services.inference.engine.preparation import Preparation, Prepared
from services.inference.engine_messages import Failure

_log = logging.getLogger(__name__)

Ready = Callable[[str, Prepared | Failure], None]
"""(job id, the job or why it cannot be done), told from a thread of the preparer's."""


class Preparer:
    """Takes jobs in the order in which they are to be prepared."""

    def __init__(self, preparation: Preparation, on_ready: Ready, *, wanted: Callable[[str], bool]) -> None:
        """``wanted`` says of a job whether anybody still waits for it; asked from a thread of its own."""
        self._preparation = preparation
        self._on_ready = on_ready
        self._wanted = wanted
        # The loop has the other threads.
        self._jobs = ThreadPoolExecutor(1, "preparer", initializer=torch.set_num_threads, initargs=(1,))
        self._loads = ThreadPoolExecutor(1, "base-loader", initializer=torch.set_num_threads, initargs=(1,))

    def take(self, job: ImageJob) -> None:
        """Prepare a job, unless it was cancelled when its turn comes; what comes of it is told."""
        self.after_loading(job.base, partial(self._prepare, job), partial(self._on_ready, job.job_id))

    def after_loading(
        self, base: BaseRef, work: Callable[[], None], failed: Callable[[Failure], None]
    ) -> None:
        """Have the base model loaded, then the work done in its turn among the jobs."""
        here = self._preparation.bases.loaded(base) is not None
        (self._jobs if here else self._loads).submit(self._load, base, work, failed)

    def close(self) -> None:
        """Take no more."""
        self._loads.shutdown(wait=False, cancel_futures=True)
        self._jobs.shutdown(wait=False, cancel_futures=True)

    def _load(self, base: BaseRef, work: Callable[[], None], failed: Callable[[Failure], None]) -> None:
        try:
            self._preparation.bases.get(base)
        except Exception as error:
            failed(_failure(error))
            return
        self._jobs.submit(work)

    def _prepare(self, job: ImageJob) -> None:
        if not self._wanted(job.job_id):
            return
        try:
            self._on_ready(job.job_id, self._preparation.prepare(job))
        except Exception as error:
            self._on_ready(job.job_id, _failure(error))


def _failure(error: Exception) -> Failure:
    if isinstance(error, JobError):
        return error.failure
    _log.error("a job could not be prepared", exc_info=error)
    return internal_failure(f"the job could not be prepared: {first_line(error)}")
