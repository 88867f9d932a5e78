"""How the service and its worker processes talk: frames over pipes, a JSON header and parts of bytes. No
pickles.

    frame = length of the header (4 bytes, big-endian), header (JSON), parts one after another
    header["parts"] = [length of each part]
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final, NoReturn

from servicekit.process_end import end_process

LENGTH_BYTES: Final = 4
Header = dict[str, Any]
Handler = Callable[[Header, list[bytes]], tuple[Header, Sequence[bytes]]]


class WorkerFaultError(Exception):
    """What a handler raises to answer with a failure that its caller understands."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def encode(header: Header, parts: Sequence[bytes] = ()) -> list[bytes]:
    """The frame, in pieces to write one after another."""
    text = json.dumps({**header, "parts": [len(part) for part in parts]}).encode()
    return [len(text).to_bytes(LENGTH_BYTES, "big"), text, *parts]


def run_worker(handler: Handler, *, memory_bytes: int = 0) -> NoReturn:
    """Answers frames from standard input on standard output until the parent closes the pipe or is gone, and
    ends the process.
    """
    # Ctrl-C reaches the whole process group; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the frames
    questions = sys.stdin.buffer
    while (frame := _read_frame(questions)) is not None:
        for piece in encode(*_answer(handler, *frame)):
            answers.write(piece)
        answers.flush()
    end_process()


def _answer(handler: Handler, header: Header, parts: list[bytes]) -> tuple[Header, Sequence[bytes]]:
    try:
        return handler(header, parts)
    except WorkerFaultError as fault:
        return {"error": {"reason": fault.reason, "message": str(fault)}}, ()
    except MemoryError:
        return {
            "error": {"reason": "OUT_OF_MEMORY", "message": "the work needs more memory than it may have"}
        }, ()
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"[:500]
        return {"error": {"reason": "WORKER_ERROR", "message": message}}, ()


def _read_frame(stream: BinaryIO) -> tuple[Header, list[bytes]] | None:
    prefix = stream.read(LENGTH_BYTES)
    if len(prefix) < LENGTH_BYTES:
        return None
    header: Header = json.loads(stream.read(int.from_bytes(prefix, "big")))
    parts = [stream.read(length) for length in header.pop("parts")]
    return header, parts
