"""A worker process of the service: started when it is first needed, asked one thing at a time, replaced
when it dies.
"""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from servicekit.bound import bound_command
from servicekit.child_environment import without_secrets
from servicekit.child_frames import LENGTH_BYTES, Header, WorkerFaultError, encode

_STOP_SECONDS: Final = 5.0
_CODE_ROOT: Final = Path(__file__).resolve().parents[1]


class WorkerDiedError(Exception):
    """The process ended, or was ended for being late, before it answered; the next question starts a new
    one.
    """


class WorkerLateError(WorkerDiedError):
    """The process did not answer in time and was ended."""


class ChildProcess:
    """Runs `python -m <module> <arguments>` and exchanges frames with it."""

    def __init__(
        self, module: str, arguments: Sequence[str] = (), *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = bound_command(module, *arguments)
        self._environment = {
            **without_secrets(os.environ),
            **(environment or {}),
            "PYTHONPATH": _python_path(),
        }
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Of the running process; None when there is none."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def ask(
        self, header: Header, parts: Sequence[bytes] = (), *, timeout_seconds: float
    ) -> tuple[Header, list[bytes]]:
        """The worker's answer; WorkerFaultError when it answers with a failure, WorkerDiedError when it
        does not answer.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_seconds):
                    answer, answered = await self._exchange(await self._running(), header, parts)
            except TimeoutError:
                await self._end(kill=True)
                raise WorkerLateError(f"no answer within {timeout_seconds:g} seconds") from None
            except (asyncio.IncompleteReadError, OSError) as error:
                code = await self._end(kill=True)
                raise WorkerDiedError(f"the worker process ended with status {code}") from error
            except BaseException:
                # Cancelled in the middle of a frame: the pipe holds half a conversation.
                await asyncio.shield(self._end(kill=True))
                raise
        if "error" in answer:
            raise WorkerFaultError(answer["error"]["reason"], answer["error"]["message"])
        return answer, answered

    async def close(self) -> None:
        """Ends the process, at once if it is busy."""
        await self._end(kill=self._turn.locked())

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, env=self._environment
            )
        return self._process

    async def _exchange(
        self, process: Process, header: Header, parts: Sequence[bytes]
    ) -> tuple[Header, list[bytes]]:
        reader, writer = process.stdout, process.stdin
        if reader is None or writer is None:
            raise WorkerDiedError("the worker process has no pipes")
        for piece in encode(header, parts):
            writer.write(piece)
            await writer.drain()
        length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
        answer: Header = json.loads(await reader.readexactly(length))
        return answer, [await reader.readexactly(size) for size in answer.pop("parts")]

    async def _end(self, *, kill: bool) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        if kill and process.returncode is None:
            process.kill()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()


def _python_path() -> str:
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_CODE_ROOT), *([inherited] if inherited else [])])
