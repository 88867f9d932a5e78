"""One engine process: its start, its frames and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from servicekit.bound import bound_command
from servicekit.child_environment import without_secrets
from services.inference.engine_messages import (
    LENGTHS,
    EngineSettings,
    check_lengths,
    decode_json,
    encode_frame,
)

STOP_SECONDS: Final = 5.0
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class EngineChild:
    """A process and the socket to it."""

    _process: asyncio.subprocess.Process
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    @classmethod
    async def spawn(cls, settings: EngineSettings) -> Self:
        """Starts a process. OSError when there is no room for one."""
        ours, theirs = socket.socketpair()
        environment = without_secrets(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            part for part in (str(_ROOT), environment.get("PYTHONPATH", "")) if part
        )
        environment |= {"OMP_NUM_THREADS": str(settings.threads), "TOKENIZERS_PARALLELISM": "false"}
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    # Its imports take long: it is to end with this process before it can see a hang-up.
                    *bound_command(
                        "services.inference.engine", str(theirs.fileno()), json.dumps(asdict(settings))
                    ),
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def read(self) -> tuple[dict[str, Any], bytes] | None:
        """The next message and its body; None when the process hung up. Raises FrameError."""
        try:
            text, body = LENGTHS.unpack(await self._reader.readexactly(LENGTHS.size))
            check_lengths(text, body)
            return decode_json(await self._reader.readexactly(text)), await self._reader.readexactly(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def send(self, message: Mapping[str, Any], body: bytes = b"") -> None:
        """Writes a frame. OSError when the process has gone, FrameError for a frame that is too large."""
        self._writer.write(encode_frame(message, body))
        await self._writer.drain()

    def send_soon(self, message: Mapping[str, Any]) -> None:
        """Writes without waiting, if anybody is there to read."""
        if not self._writer.is_closing():
            self._writer.write(encode_frame(message))

    async def end(self) -> int:
        """Hangs up, and returns the exit code; a process that does not go by itself is killed."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        try:
            return await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()
