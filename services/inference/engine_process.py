"""The engine as a child process: started, spoken to, and started again when it dies.

When it goes away, every request in flight gets a retryable Unavailable; the next ones too until it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from servicekit import errors
from servicekit.bound import bound_command
from servicekit.child_environment import without_secrets
from services.inference.domain_capacity import CacheUsage, EngineState, LoadedBase
from services.inference.domain_jobs import EngineEvent, ImageJob
from services.inference.domain_texts import TextEngineEvent, TextJob
from services.inference.engine_flights import Ended, Flights, error_of
from services.inference.engine_messages import (
    CANCEL,
    FAILED,
    FINISHED,
    LENGTHS,
    PICTURE,
    PREVIEW,
    PROGRESS,
    READY,
    STARTED,
    STATE,
    EngineSettings,
    Failure,
    FrameError,
    check_lengths,
    decode_event,
    decode_json,
    encode_frame,
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
STOP_SECONDS = 5.0
_ROOT = Path(__file__).resolve().parents[2]
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Connection:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


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
        figures of every step of texts, ``on_restart`` of every process after the first.
        """
        self._settings = settings
        self._on_step = on_step
        self._on_text_step = on_text_step
        self._on_restart = on_restart
        self._connection: _Connection | None = None
        self._flights = Flights()
        self._state = EngineState()
        self._supervisor: asyncio.Task[None] | None = None
        self._retry_seconds = FIRST_BACKOFF_SECONDS
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
        return self._connection.process.pid if self._connection else None

    async def ready(self) -> bool:
        """Whether a job would be taken now."""
        return self._state.ready

    def require_ready(self) -> None:
        """See the port."""
        if self._connection is None or not self._state.ready:
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

    async def _fly(
        self, job_id: str, message: Mapping[str, Any], body: bytes = b""
    ) -> AsyncGenerator[Any, None]:
        self.require_ready()
        self._flights.begin(job_id)
        try:
            await self._send(message, body)
            async for event in self._flights.events(job_id):
                yield event
        finally:
            if self._flights.forget(job_id):
                self._send_soon({"type": CANCEL, "job_id": job_id})

    async def _supervise(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._live()
            except (OSError, FrameError) as error:
                _log.error("engine failed", error=str(error))
            except Exception:  # whatever an engine says, another one is started
                _log.exception("engine failed")
            finally:
                self._state = EngineState()
                self._flights.fail_all(self._gone("the engine ended while it worked on this request"))
            if time.monotonic() - began > HEALTHY_SECONDS:
                self._retry_seconds = FIRST_BACKOFF_SECONDS
            # Spread out, so that replicas whose engines died together do not start together.
            await asyncio.sleep(self._retry_seconds * random.uniform(0.8, 1.2))  # noqa: S311
            self._retry_seconds = min(self._retry_seconds * 2, LAST_BACKOFF_SECONDS)

    async def _live(self) -> None:
        """One process from start to end."""
        self._connection = await self._spawn()
        self.starts += 1
        if self.starts > 1:
            self._on_restart()
        process = self._connection.process
        try:
            while (frame := await _read_frame(self._connection.reader)) is not None:
                self._handle(*frame)
        finally:
            connection, self._connection = self._connection, None
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()
            code = await _ended(process)
            _log.warning("engine ended", code=code, in_flight=len(self._flights))

    async def _spawn(self) -> _Connection:
        ours, theirs = socket.socketpair()
        environment = without_secrets(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            part for part in (str(_ROOT), environment.get("PYTHONPATH", "")) if part
        )
        environment |= {"OMP_NUM_THREADS": str(self._settings.threads), "TOKENIZERS_PARALLELISM": "false"}
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    # Its imports take long: it is to end with this process before it can see a hang-up.
                    *bound_command(
                        "services.inference.engine",
                        str(theirs.fileno()),
                        json.dumps(asdict(self._settings)),
                    ),
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        return _Connection(process, reader, writer)

    def _handle(self, message: Mapping[str, Any], body: bytes) -> None:
        kind = message["type"]
        if kind == STATE:
            self._take_state(message)
        elif kind == READY:
            self._state = replace(self._state, ready=True)
            _log.info("engine ready", pid=self.pid)
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

    def _gone(self, message: str) -> errors.Unavailable:
        return errors.Unavailable(
            f"{message}; try again", reason="ENGINE_UNAVAILABLE", retry_after_seconds=2 * self._retry_seconds
        )

    async def _send(self, message: Mapping[str, Any], body: bytes = b"") -> None:
        connection = self._connection
        if connection is None:
            raise self._gone("the engine is starting")
        try:
            connection.writer.write(encode_frame(message, body))
            await connection.writer.drain()
        except OSError as error:
            raise self._gone("the engine has ended") from error

    def _send_soon(self, message: Mapping[str, Any]) -> None:
        """Write without waiting; for a caller that is being cancelled."""
        if self._connection is not None and not self._connection.writer.is_closing():
            self._connection.writer.write(encode_frame(message))


async def _read_frame(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """The next message and its body; None when the other side hung up."""
    try:
        text, body = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
        check_lengths(text, body)
        return decode_json(await reader.readexactly(text)), await reader.readexactly(body)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Exit code of a process that has been hung up on; killed if it does not go by itself."""
    try:
        return await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        return await process.wait()
