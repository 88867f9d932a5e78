"""The StackExporter port: a process of its own folds and writes, so that the service's holds no torch.

It is started when it is first needed, and goes when nothing was asked for a while.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from servicekit.child_frames import WorkerFaultError
from servicekit.child_process import ChildProcess, WorkerDiedError
from servicekit.errors import FailedPrecondition, Internal, InvalidArgument, ServiceError, Unavailable
from services.inference.domain import CAUSAL_LM_FAMILY
from services.inference.domain_export import ExportedFile, ExportOrder

MAX_WAITING: Final = 8
"""Exports at a time; one is written, the others wait."""
BUSY_SECONDS: Final = 10.0
WRITING_SECONDS: Final = 600.0
IDLE_SECONDS: Final = 120.0
STACK_EMPTY: Final = "STACK_EMPTY"
PRECISION_TOO_SMALL: Final = "PRECISION_TOO_SMALL"
_WORKER: Final = "services.inference.export_worker"
_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TRANSFORMERS_VERBOSITY": "error",
}
_NAME_CHARACTERS: Final = 80
_PEFT_NAME: Final = "adapter_model.safetensors"
_FIELDS: Final[Mapping[str, str]] = {STACK_EMPTY: "stack", PRECISION_TOO_SMALL: "precision"}
_PRECONDITIONS: Final = ("LORA_FILE_INVALID", "LORA_BASE_MISMATCH", "BASE_MODEL_UNUSABLE", "OUT_OF_MEMORY")


class ProcessStackExporter:
    """Writes one stack after another into a folder of its own; call `close` at the end."""

    def __init__(self, folder: Path, *, configs: str = "", idle_seconds: float = IDLE_SECONDS) -> None:
        """`folder` is emptied. `configs`: a pipeline directory with the configurations of single files."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._child = ChildProcess(_WORKER, [configs], environment=_ENVIRONMENT)
        self._idle_seconds = idle_seconds
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._release: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._child.pid

    @asynccontextmanager
    async def export(self, order: ExportOrder) -> AsyncIterator[ExportedFile]:
        """See the port."""
        if self._waiting >= MAX_WAITING:
            raise Unavailable(
                f"{self._waiting} exports wait already", reason="QUEUE_FULL", retry_after_seconds=BUSY_SECONDS
            )
        self._waiting += 1
        try:
            with TemporaryDirectory(dir=self._folder) as place:
                answer = await self._ask(order, Path(place))
                yield ExportedFile(
                    name=_PEFT_NAME
                    if answer["family"] == CAUSAL_LM_FAMILY
                    else f"{_title(order)}.safetensors",
                    sha256=answer["sha256"],
                    size_bytes=answer["size_bytes"],
                    path=Path(place) / answer["file"],
                )
        finally:
            self._waiting -= 1
            self._release_later()

    async def close(self) -> None:
        """Ends the process."""
        if self._timer is not None:
            self._timer.cancel()
        if self._release is not None:
            await self._release
        await self._child.close()

    async def _ask(self, order: ExportOrder, place: Path) -> dict[str, Any]:
        question = {
            "folder": str(place),
            "title": _title(order),
            "precision": order.precision.value,
            "base": {
                "name": order.base.name,
                "sha256": order.base.sha256,
                "path": order.base.path or order.base.source,
            },
            "stack": [
                {
                    "path": str(order.paths[used.sha256]),
                    "part": {
                        "reference": used.reference,
                        "version": used.version,
                        "sha256": used.sha256,
                        "text_encoder_weight": used.text_encoder_weight,
                        "weight": used.weight,
                    },
                }
                for used in order.stack
            ],
        }
        try:
            answer, _ = await self._child.ask(question, timeout_seconds=WRITING_SECONDS)
        except WorkerFaultError as fault:
            raise _error(fault, order) from fault
        except WorkerDiedError as error:
            raise Unavailable(
                f"the stack could not be written: {error}; try again",
                reason="EXPORTER_UNAVAILABLE",
                retry_after_seconds=BUSY_SECONDS,
            ) from error
        return answer

    def _release_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._release_if_idle)

    def _release_if_idle(self) -> None:
        if not self._waiting:
            self._release = asyncio.create_task(self._child.close())


def _title(order: ExportOrder) -> str:
    """`hero-prod+neon`: a name for the file and for prompts of other tools."""
    names = [re.sub(r"[^a-z0-9]+", "-", used.reference) for used in order.stack]
    return "+".join(dict.fromkeys(names))[:_NAME_CHARACTERS].strip("+-")


def _error(fault: WorkerFaultError, order: ExportOrder) -> ServiceError:
    if fault.reason in _FIELDS:
        return InvalidArgument.of(_FIELDS[fault.reason], str(fault), reason=fault.reason)
    if fault.reason in _PRECONDITIONS:
        return FailedPrecondition(str(fault), reason=fault.reason, metadata={"base_model": order.base.name})
    return Internal(f"the stack could not be written: {fault}")
