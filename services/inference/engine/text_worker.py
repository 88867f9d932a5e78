"""The thread in which texts are made, beside that of the pictures in the engine's process."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from services.inference.domain_capacity import CacheUsage, TextState
from services.inference.domain_texts import TextJob
from services.inference.engine.errors import JobError
from services.inference.engine.text_bases import text_bases
from services.inference.engine.text_loop import TextFigures, TextLoop
from services.inference.engine.text_preparation import TextPreparation
from services.inference.engine.text_stacks import TextStacks
from services.inference.engine_messages import EngineSettings
from services.inference.engine_text_messages import TextWord, encode_text_events, encode_text_state

IDLE_SECONDS = 1.0
STATE_SECONDS = 0.05
"""Least time between two words about the state while there is work."""
CACHE_LEVEL = "text_keys_values"
_log = logging.getLogger(__name__)


class TextWorker:
    """Takes jobs from any thread; what comes of them goes out through ``send``, which must bear that too."""

    def __init__(
        self,
        settings: EngineSettings,
        device: torch.device,
        dtype: torch.dtype,
        send: Callable[[dict[str, Any]], None],
    ) -> None:
        self._send = send
        self._bases = text_bases(device, dtype, settings.max_bases)
        self._stacks = TextStacks(settings.language_lora_memory_bytes)
        self._budget_bytes = settings.text_cache_bytes
        self._loop = TextLoop(
            TextPreparation(self._bases, self._stacks, settings.text_cache_bytes),
            settings.max_text_rows,
            lambda job_id, event: self._words.append((job_id, event)),
            lambda job_id, failure: self._words.append((job_id, failure)),
        )
        self._preload = settings.preload_text
        self._commands: queue.SimpleQueue[TextJob | str] = queue.SimpleQueue()
        self._words: list[tuple[str, TextWord]] = []
        self._steps: list[dict[str, Any]] = []
        self._told_at = 0.0

    def start(self) -> None:
        """Load what is to be there before the first request, then serve; returns when that is loaded."""
        if self._preload:
            try:
                self._bases.preload(str(Path(self._preload)))
            except JobError as error:
                # Requests that name another base can still be served, and those that need it are told why.
                _log.error("%s", error)
        self._tell_state()
        threading.Thread(target=self._run, name="texts", daemon=True).start()

    def submit(self, job: TextJob) -> None:
        """Queue a job."""
        self._commands.put(job)
        self._loop.wake.set()

    def cancel(self, job_id: str) -> None:
        """Forget a job; unknown ones are fine."""
        self._commands.put(job_id)
        self._loop.wake.set()

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:
            _log.exception("the texts' thread failed")
            # A process without it would keep its callers waiting; the service starts another.
            os._exit(1)

    def _serve(self) -> None:
        while True:
            # Cleared before anything is looked at: what happens from here on sets it again.
            self._loop.wake.clear()
            self._take_commands()
            figures = self._loop.step()
            self._tell(figures)
            if figures is None:
                self._loop.wake.wait(IDLE_SECONDS)

    def _take_commands(self) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            if isinstance(command, TextJob):
                self._loop.submit(command)
            else:
                self._loop.cancel(command)

    def _tell(self, figures: TextFigures | None) -> None:
        words, self._words = self._words, []
        if words:
            self._send(encode_text_events(words))
        if figures is not None:
            self._steps.append(asdict(figures))
        idle = self._loop.active_rows == 0
        if idle or time.monotonic() - self._told_at > STATE_SECONDS:
            self._tell_state()

    def _tell_state(self) -> None:
        self._told_at = time.monotonic()
        steps, self._steps = self._steps, []
        usage = CacheUsage(
            level=CACHE_LEVEL,
            used_bytes=self._loop.used_bytes,
            budget_bytes=self._budget_bytes,
            hits=0,
            misses=0,
        )
        state = TextState(
            active_rows=self._loop.active_rows,
            bases=tuple(self._bases.held()),
            caches=(*self._stacks.usage(), usage),
        )
        self._send(encode_text_state(state, steps))
