"""The engine's process: reads frames from an inherited socket, makes pictures and texts, writes frames back.

`python -m services.inference.engine SOCKET_FD SETTINGS_JSON`; the inference service starts it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from servicekit.large_imports import large_imports

with large_imports():
    import torch
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from lorakit.allocator import keep_freed_memory
    from lorakit.device_memory import quiet_profiler
    from servicekit.logs import configure_logs
    from services.inference.domain_jobs import EngineEvent
    from services.inference.engine.bases import picture_bases
    from services.inference.engine.batch import DenoisingBatch
    from services.inference.engine.errors import JobError
    from services.inference.engine.picture_jobs import StepFigures
    from services.inference.engine.pins import Pins
    from services.inference.engine.preparation import Preparation
    from services.inference.engine.row_memory import RowMemory
    from services.inference.engine.safety import SafetyCheckerError, load_safety_checker
    from services.inference.engine.stacks import Stacks
    from services.inference.engine.text_worker import TextWorker
    from services.inference.engine.texts import Texts
    from services.inference.engine_messages import (
        CANCEL,
        FAILED,
        FINISHED,
        GENERATE,
        LENGTHS,
        PIN,
        READY,
        STATE,
        UNPIN,
        EngineSettings,
        Failure,
        FrameError,
        check_lengths,
        decode_job,
        decode_json,
        encode_event,
        encode_frame,
    )
    from services.inference.engine_text_messages import GENERATE_TEXT, decode_text_job

IDLE_STATE_SECONDS = 1.0
_log = logging.getLogger("services.inference.engine")


class EngineProcess:
    """Carries frames between the socket, the denoising batch and the texts' worker."""

    def __init__(self, connection: socket.socket, settings: EngineSettings) -> None:
        self._connection = connection
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        device, dtype = _device(settings.device), getattr(torch, settings.dtype)
        self._bases = picture_bases(
            device,
            dtype,
            settings.max_bases,
            configs=Path(settings.configs) if settings.configs else None,
            tokenizer=Path(settings.tokenizer) if settings.tokenizer else None,
            compile_backend=settings.compile_backend,
        )
        self._stacks = Stacks(settings.lora_memory_bytes, settings.stack_memory_bytes)
        self._texts = Texts(settings.text_memory_bytes)
        preparation = Preparation(self._bases, self._stacks, self._texts)
        self._batch = DenoisingBatch(
            preparation,
            max_rows=settings.max_rows,
            row_memory=RowMemory(device, settings.row_memory_bytes),
            safety=load_safety_checker(settings.safety_checker, device),
            emit=self._emit,
            finish=self._finish,
        )
        self._pins = Pins(preparation, self._batch.preparer, self._finish)
        self._language = TextWorker(settings, device, dtype, self._send)
        self._preload = settings.preload

    def run(self) -> None:
        """Serve until the other side hangs up; never returns."""
        threading.Thread(target=self._write_frames, name="frames-out", daemon=True).start()
        threading.Thread(target=self._read_frames, name="frames-in", daemon=True).start()
        if self._preload:
            try:
                self._bases.preload(self._preload)
            except JobError as error:
                # Requests that name another base can still be served, and those that need it are told why.
                _log.error("%s", error)
        self._language.start()
        self._send({"type": READY})
        self._send_state(None)
        while True:
            self._send_state(self._batch.step(idle_seconds=IDLE_STATE_SECONDS))

    def _heed(self, message: dict[str, Any], body: bytes) -> None:
        if message["type"] == GENERATE:
            self._batch.submit(decode_job(message, body))
        elif message["type"] == GENERATE_TEXT:
            self._language.submit(decode_text_job(message))
        elif message["type"] == CANCEL:
            job_id = str(message.get("job_id"))
            self._batch.cancel(job_id)
            self._language.cancel(job_id)
        elif message["type"] == PIN:
            job = decode_job(message, body)
            self._pins.pin(job.job_id, job)
        elif message["type"] == UNPIN:
            self._pins.unpin(str(message.get("job_id")))

    def _read_frames(self) -> None:
        """Runs in a thread of its own, so that a hang-up ends the process even in the middle of a long
        step.
        """
        code = 0
        try:
            with self._connection.makefile("rb") as stream:
                while (frame := _read_frame(stream)) is not None:
                    self._heed(*frame)
        except (FrameError, OSError) as error:
            _log.error("the service's socket is broken: %s", error)
            code = 1
        except Exception:
            # Deaf to the service it would keep its callers waiting; the service starts another.
            _log.exception("a frame could not be heeded")
            code = 1
        os._exit(code)

    def _emit(self, job_id: str, event: EngineEvent) -> None:
        message, body = encode_event(job_id, event)
        self._send(message, body)

    def _finish(self, job_id: str, failure: Failure | None) -> None:
        if failure is None:
            self._send({"type": FINISHED, "job_id": job_id})
        else:
            self._send({"type": FAILED, "job_id": job_id, "failure": asdict(failure)})

    def _send_state(self, figures: StepFigures | None) -> None:
        caches = (*self._stacks.usage(), self._texts.usage())
        self._send(
            {
                "type": STATE,
                "active_rows": self._batch.active_rows,
                "bases": [asdict(base) for base in self._bases.held()],
                "caches": [asdict(usage) for usage in caches],
                "step": asdict(figures) if figures else None,
            }
        )

    def _send(self, message: dict[str, Any], body: bytes = b"") -> None:
        self._frames.put(encode_frame(message, body))

    def _write_frames(self) -> None:
        """Runs in a thread of its own, so that a service that is slow to read holds up no step."""
        try:
            while True:
                self._connection.sendall(self._frames.get())
        except OSError:
            # The service is gone; there is nobody left to work for.
            os._exit(0)


def _read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message and its body; None at the end of the stream. Raises FrameError."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    text, body = LENGTHS.unpack(lengths)
    check_lengths(text, body)
    content = stream.read(text + body)
    if len(content) < text + body:
        return None
    return decode_json(content[:text]), content[text:]


def _device(name: str) -> torch.device:
    """`auto` is an accelerator if there is one, else the CPU."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Entry point."""
    # A Ctrl-C reaches every process of the terminal; the service decides when its engine ends, by hanging up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    settings = EngineSettings(**json.loads(sys.argv[2]))
    configure_logs(service="inference-engine", level=settings.log_level, log_format=settings.log_format)
    torch.set_num_threads(settings.threads)
    quiet_profiler()
    if _device(settings.device).type == "cpu":
        keep_freed_memory()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    diffusers_logging.set_verbosity_error()
    started = time.perf_counter()
    try:
        engine = EngineProcess(connection, settings)
    except SafetyCheckerError as error:
        # Without it no picture may leave: the service stays unready, and tries again.
        _log.error("the safety checker cannot be loaded: %s", error)
        sys.exit(1)
    _log.info("engine process up after %.1f s", time.perf_counter() - started)
    engine.run()


if __name__ == "__main__":
    main()
