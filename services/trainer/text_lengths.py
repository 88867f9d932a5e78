"""Whether texts fit into a base model, told by its tokenizer alone, in a process of its own.

That process loads the tokenizer and no weights. The service stays as small and as responsive as it is, and a
chat template that never ends, or that fills the memory, is ended. It goes when nothing was asked for a while.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from servicekit.child_frames import WorkerFaultError
from servicekit.child_process import ChildProcess, WorkerDiedError
from services.trainer.ports import TextFault, TextsUncheckedError
from services.trainer.sources import BaseModel
from services.trainer.text_manifest import Text

MAX_FAULTS: Final = 100
_log = structlog.get_logger(__name__)
_WORKER: Final = "services.trainer.text_lengths_worker"
_FILE: Final = "file://"
_MEMORY_BYTES: Final = 4 << 30
"""Of addresses; a tokenizer takes a few hundred MiB."""
_ENVIRONMENT: Final = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


class ProcessTextLengths:
    """TextLengths for bases that lie in a folder on this host; call `close` at the end."""

    def __init__(
        self, *, seconds: float = 15.0, starting_seconds: float = 20.0, idle_seconds: float = 120.0
    ) -> None:
        """`seconds` are spent on the texts of one question at most, `starting_seconds` beside them on
        starting and on whatever does not end by itself.
        """
        self._seconds = seconds
        self._whole_seconds = seconds + starting_seconds
        self._idle_seconds = idle_seconds
        self._child = ChildProcess(_WORKER, [str(_MEMORY_BYTES)], environment=_ENVIRONMENT)
        self._asking = 0
        self._release: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._child.pid

    async def faults(self, base: BaseModel, texts: Mapping[int, Text]) -> list[TextFault]:
        """See TextLengths."""
        path = await asyncio.to_thread(_folder, base.source)
        if path is None:
            raise _unchecked(base, f"there is no language model at {base.source}")
        question = {"path": path, "sha256": base.sha256, "seconds": self._seconds, "most": MAX_FAULTS}
        part = await asyncio.to_thread(_encoded, texts)
        self._asking += 1
        try:
            answer, _ = await self._child.ask(question, [part], timeout_seconds=self._whole_seconds)
        except WorkerFaultError as error:
            raise _unchecked(base, str(error)) from error
        except WorkerDiedError as error:
            raise _unchecked(base, f"no answer: {error}") from error
        finally:
            self._asking -= 1
            self._release_later()
        found = [TextFault(number, why) for number, why in answer["faults"]]
        if not found and answer["checked"] < len(texts):
            raise TextsUncheckedError(
                f"{answer['checked']} of {len(texts)} texts, the longest, were measured in {self._seconds:g} "
                "seconds"
            )
        return found

    async def close(self) -> None:
        """Ends the process."""
        if self._release is not None:
            self._release.cancel()
        await self._child.close()

    def _release_later(self) -> None:
        if self._release is not None:
            self._release.cancel()
        self._release = asyncio.create_task(self._release_when_idle())

    async def _release_when_idle(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        if not self._asking:
            await self._child.close()


def _unchecked(base: BaseModel, why: str) -> TextsUncheckedError:
    # Where a base lies is for administrators: they read the log, the advice is for everybody.
    _log.warning("texts were not measured", base=base.name, why=why)
    return TextsUncheckedError(f"the trainer could not use the tokenizer of {base.name}")


def _folder(source: str) -> str | None:
    """The language model's folder; None where there is none on this host."""
    path = Path(source.removeprefix(_FILE)).expanduser()
    return str(path) if (path / "config.json").is_file() else None


def _encoded(texts: Mapping[int, Text]) -> bytes:
    rows = [
        [number, [{"role": turn.role, "content": turn.content} for turn in text.turns]]
        for number, text in texts.items()
    ]
    return json.dumps(rows).encode()
