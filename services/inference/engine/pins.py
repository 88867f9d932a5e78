"""Stacks that stay loaded whatever else is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import torch

from services.inference.domain_jobs import ImageJob
from services.inference.engine.composition import compose
from services.inference.engine.errors import JobError, first_line, internal_failure
from services.inference.engine.preparation import Preparation, latent_shape
from services.inference.engine.preparer import Preparer
from services.inference.engine_messages import Failure

_log = logging.getLogger(__name__)


class Pins:
    """Loads what a job with the stack would load, beside the denoising loop, and keeps it until unpinned."""

    def __init__(
        self,
        preparation: Preparation,
        preparer: Preparer,
        finish: Callable[[str, Failure | None], None],
    ) -> None:
        """``finish`` is given (key, why it failed or None), from a thread of the preparer's."""
        self._preparation = preparation
        self._preparer = preparer
        self._finish = finish
        self._wanted: set[str] = set()

    def pin(self, key: str, job: ImageJob) -> None:
        """Load and keep the job's stack under that key; what comes of it is told."""
        self._wanted.add(key)
        self._preparer.after_loading(job.base, partial(self._load, key, job), partial(self._end, key))

    def unpin(self, key: str) -> None:
        """Let a stack go, loaded or not; unknown ones are fine."""
        self._wanted.discard(key)
        self._preparation.stacks.unpin(key)

    @torch.inference_mode()
    def _load(self, key: str, job: ImageJob) -> None:
        failure: Failure | None = None
        try:
            base = self._preparation.bases.get(job.base)
            stacks = self._preparation.stacks
            for phase in compose(job, job.steps, *latent_shape(job, base)[1:]):
                for part in phase.parts:
                    stacks.pin(key, part.loras, base)
        except JobError as error:
            failure = error.failure
        except Exception as error:
            _log.exception("a stack could not be pinned")
            failure = internal_failure(f"the stack could not be pinned: {first_line(error)}")
        self._end(key, failure)

    def _end(self, key: str, failure: Failure | None) -> None:
        if failure is not None or key not in self._wanted:
            self.unpin(key)
        self._finish(key, failure)
