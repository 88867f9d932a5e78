"""The captioner: a transformers BLIP in a process of its own, so that RPCs stay responsive meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from servicekit.child_frames import WorkerFaultError
from servicekit.child_process import ChildProcess, WorkerDiedError, WorkerLateError
from services.labeler.domain import Failure
from services.labeler.ports import CaptionerError

_WORKER: Final = "services.labeler.captioner_worker"
_ENVIRONMENT: Final = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class ProcessCaptioner:
    """Captioner over one worker process, which is started, and loads the model, when the first job needs
    it.
    """

    def __init__(
        self,
        model: str,
        *,
        threads: int = 0,
        load_timeout_seconds: float = 1800.0,
        picture_timeout_seconds: float = 300.0,
    ) -> None:
        self._model = model
        self._load_timeout_seconds = load_timeout_seconds
        self._picture_timeout_seconds = picture_timeout_seconds
        self._child = ChildProcess(_WORKER, [model, str(threads)], environment=_ENVIRONMENT)
        self._loaded_pid: int | None = None

    @property
    def name(self) -> str:
        """Directory or hub id of the model."""
        return self._model

    @property
    def pid(self) -> int | None:
        """Of the worker process, while there is one."""
        return self._child.pid

    async def prepare(self) -> None:
        """Loads the model unless it is loaded. The time limit has room for a download from a hub."""
        if self._loaded_pid is not None and self._loaded_pid == self._child.pid:
            return
        try:
            await self._child.ask({"do": "load"}, timeout_seconds=self._load_timeout_seconds)
        except WorkerFaultError as fault:
            raise CaptionerError(Failure(fault.reason, str(fault))) from fault
        except WorkerDiedError as error:
            message = f"the captioner {self._model} could not be loaded: {error}"
            raise CaptionerError(Failure("CAPTIONER_UNAVAILABLE", message)) from error
        self._loaded_pid = self._child.pid

    async def caption(self, pngs: Sequence[bytes], *, max_tokens: int) -> list[str]:
        """One caption for each picture."""
        try:
            answer, _ = await self._child.ask(
                {"do": "caption", "max_tokens": max_tokens},
                pngs,
                timeout_seconds=self._picture_timeout_seconds * len(pngs),
            )
        except WorkerFaultError as fault:
            raise CaptionerError(Failure(fault.reason, str(fault))) from fault
        except WorkerLateError as error:
            raise CaptionerError(Failure("CAPTIONER_TIMEOUT", str(error))) from error
        except WorkerDiedError as error:
            message = f"the captioner died over its work: {error}"
            raise CaptionerError(Failure("CAPTIONER_DIED", message)) from error
        return [str(caption) for caption in answer["captions"]]

    async def close(self) -> None:
        """Ends the worker process."""
        await self._child.close()
