"""The engine as a child process: started, spoken to, and started again when it dies.

When it goes away, every request in flight gets a retryable Unavailable; the next ones too until it is back.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import structlog

from servicekit import errors
from services.inference.domain_capacity import CacheUsage, EngineState, LoadedBase
from services.inference.domain_jobs import EngineEvent, ImageJob
from services.inference.domain_texts import TextEngineEvent, TextJob
from services.inference.engine_child import EngineChild
from services.inference.engine_flights import Ended, Flights, error_of
from services.inference.engine_messages import (
    CANCEL,
    FAILED,
    FINISHED,
    PICTURE,
    PIN,
    PREVIEW,
    PROGRESS,
    READY,
    STARTED,
    STATE,
    UNPIN,
    EngineSettings,
    Failure,
    FrameError,
    decode_event,
    encode_job,
)
from services.inference.engine_text_messages import (
    TEXT_EVENTS,
    TEXT_STATE,
    decode_text_events,
    decode_text_state,
    encode_text_job,
)

FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
"""An engine that lived this long had nothing wrong with its start: the backoff begins anew."""
UNMEASURED_SECONDS = 5.0
"""Told of a start that nobody has seen the end of."""
_log = structlog.get_logger(__name__)


class EngineProcess:
    """The Engine port over a child process."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        on_step: Callable[[int, int, float], None] = lambda *_: None,
        on_text_step: Callable[[Mapping[str, Any]], None] = lambda _: None,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_step`` is told rows, forward rows and seconds of every denoising step, ``on_text_step`` the
        figures of every step of texts, ``on_restart`` of every process after the first; `on_ready` is called
        whenever a process takes jobs.
        """
        self.on_ready: Callable[[], None] = lambda: None
        self._settings = settings
        self._on_step = on_step
        self._on_text_step = on_text_step
        self._on_restart = on_restart
        self._child: EngineChild | None = None
        self._flights = Flights()
        self._state = EngineState()
        self._supervisor: asyncio.Task[None] | None = None
        self._retry_seconds = FIRST_BACKOFF_SECONDS
        self._start_seconds = UNMEASURED_SECONDS
        """What the last start took, from the process to the first job."""
        self._gone_at = time.monotonic()
        """The monotonic moment at which the engine ended, or was to be started for the first time."""
        self._ready_at = 0.0
        """The monotonic moment at which the engine is likely to take jobs."""
        self.starts = 0
        """How often a process was started."""

    def start(self) -> None:
        """Begin to keep an engine running; it is ready some seconds later."""
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """Hang up and wait until the process is gone."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
            self._supervisor = None

    @property
    def pid(self) -> int | None:
        """The engine's process id while there is one."""
        return self._child.pid if self._child else None

    async def ready(self) -> bool:
        """Whether a job would be taken now."""
        return self._state.ready

    def require_ready(self) -> None:
        """See the port."""
        if self._child is None or not self._state.ready:
            raise self._gone("the engine is starting")

    def state(self) -> EngineState:
        """What the engine last told."""
        return self._state

    async def generate(self, job: ImageJob) -> AsyncGenerator[EngineEvent, None]:
        """See the port."""
        async with aclosing(self._fly(job.job_id, *encode_job(job))) as events:
            async for event in events:
                yield event

    async def generate_text(self, job: TextJob) -> AsyncGenerator[TextEngineEvent, None]:
        """See the port."""
        async with aclosing(self._fly(job.job_id, encode_text_job(job))) as events:
            async for event in events:
                yield event

    async def pin(self, key: str, job: ImageJob) -> None:
        """See the port."""
        message, body = encode_job(replace(job, job_id=key), PIN)
        async with aclosing(self._fly(key, message, body, undo=UNPIN)) as events:
            async for _ in events:
                pass

    def unpin(self, key: str) -> None:
        """See the port."""
        self._send_soon({"type": UNPIN, "job_id": key})

    async def _fly(
        self, job_id: str, message: Mapping[str, Any], body: bytes = b"", *, undo: str = CANCEL
    ) -> AsyncGenerator[Any, None]:
        """Sends a frame and gives what comes of it; ``undo`` is sent when nobody waits for it any more."""
        self.require_ready()
        self._flights.begin(job_id)
        try:
            await self._send(message, body)
            async for event in self._flights.events(job_id):
                yield event
        finally:
            if self._flights.forget(job_id):
                self._send_soon({"type": undo, "job_id": job_id})

    async def _supervise(self) -> None:
        while True:
            began = time.monotonic()
            self._ready_at = began + self._start_seconds
            try:
                await self._live(began)
            except (OSError, FrameError) as error:
                _log.error("engine failed", error=str(error))
            except Exception:  # whatever an engine says, another one is started
                _log.exception("engine failed")
            finally:
                pause = self._pause(time.monotonic() - began)
                self._ready_at = time.monotonic() + pause + self._start_seconds
                self._state = EngineState()
                self._fail_flights()
            await asyncio.sleep(pause)

    def _pause(self, lived_seconds: float) -> float:
        """Before the next start: none after a long life, which had nothing wrong with its start."""
        if lived_seconds > HEALTHY_SECONDS:
            self._retry_seconds = FIRST_BACKOFF_SECONDS
            return 0.0
        # Spread out, so that replicas whose engines died together do not start together.
        pause = self._retry_seconds * random.uniform(0.8, 1.2)  # noqa: S311
        self._retry_seconds = min(self._retry_seconds * 2, LAST_BACKOFF_SECONDS)
        return pause

    async def _live(self, began: float) -> None:
        """One process from start to end."""
        child = self._child = await EngineChild.spawn(self._settings)
        self.starts += 1
        if self.starts > 1:
            self._on_restart()
        try:
            while (frame := await child.read()) is not None:
                if frame[0]["type"] == READY:
                    self._start_seconds = time.monotonic() - began
                self._handle(*frame)
        finally:
            self._child = None
            # Those who wait are told now: the process may take its time to end.
            in_flight = len(self._flights)
            self._gone_at = time.monotonic()
            self._ready_at = self._gone_at + self._retry_seconds + self._start_seconds
            self._state = EngineState()
            self._fail_flights()
            code = await child.end()
            _log.warning("engine ended", code=code, in_flight=in_flight)

    def _handle(self, message: Mapping[str, Any], body: bytes) -> None:
        kind = message["type"]
        if kind == STATE:
            self._take_state(message)
        elif kind == READY:
            self._state = replace(self._state, ready=True)
            _log.info("engine ready", pid=self.pid)
            self.on_ready()
        elif kind in (STARTED, PROGRESS, PREVIEW, PICTURE):
            self._flights.deliver(str(message.get("job_id")), decode_event(message, body))
        elif kind == FINISHED:
            self._flights.deliver(str(message.get("job_id")), Ended())
        elif kind == FAILED:
            failure = Failure(**message["failure"])
            self._flights.deliver(str(message.get("job_id")), Ended(error_of(failure)))
        elif kind == TEXT_EVENTS:
            self._take_text_events(message)
        elif kind == TEXT_STATE:
            self._state = replace(self._state, texts=decode_text_state(message))
            for step in message["steps"]:
                self._on_text_step(step)
        else:
            raise FrameError(f"the engine sent {kind!r}")

    def _take_text_events(self, message: Mapping[str, Any]) -> None:
        for job_id, word in decode_text_events(message):
            if isinstance(word, Failure):
                self._flights.deliver(job_id, Ended(error_of(word)))
            else:
                self._flights.deliver(job_id, Ended() if word is None else word)

    def _take_state(self, message: Mapping[str, Any]) -> None:
        self._state = EngineState(
            ready=True,
            texts=self._state.texts,
            active_rows=int(message["active_rows"]),
            bases=tuple(LoadedBase(**base) for base in message["bases"]),
            caches=tuple(CacheUsage(**usage) for usage in message["caches"]),
        )
        step = message.get("step")
        if step:
            self._on_step(step["rows"], step["forward_rows"], step["seconds"])

    def _fail_flights(self) -> None:
        self._flights.fail_all(self._gone("the engine ended while it worked on this request"))

    def _gone(self, message: str) -> errors.Unavailable:
        now = time.monotonic()
        # A start that takes longer than the last one may take as much longer again.
        overdue = (now - self._gone_at) / 2
        seconds = max(self._ready_at - now, overdue, FIRST_BACKOFF_SECONDS)
        return errors.Unavailable(
            f"{message}; try again", reason="ENGINE_UNAVAILABLE", retry_after_seconds=seconds
        )

    async def _send(self, message: Mapping[str, Any], body: bytes = b"") -> None:
        if self._child is None:
            raise self._gone("the engine is starting")
        try:
            await self._child.send(message, body)
        except OSError as error:
            raise self._gone("the engine has ended") from error

    def _send_soon(self, message: Mapping[str, Any]) -> None:
        """Write without waiting; for a caller that is being cancelled."""
        if self._child is not None:
            self._child.send_soon(message)
