"""Decodes pictures in worker processes, so that neither the event loop nor the service suffers from hostile
ones.
"""

from __future__ import annotations

import asyncio
from typing import Final

from servicekit.child_frames import WorkerFaultError
from servicekit.child_process import ChildProcess, WorkerDiedError, WorkerLateError
from services.labeler.domain import Failure, Fingerprint, NormalisedPicture

_WORKER: Final = "services.labeler.picture_worker"
# Pools of threads inside the decoder's libraries would only reserve memory of its limit.
_ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ProcessPictureReader:
    """PictureReader over `processes` workers, each with a limit on memory and on the time for one picture."""

    def __init__(
        self,
        *,
        processes: int,
        max_pixels: int,
        memory_bytes: int = 3 << 30,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._max_pixels = max_pixels
        self._timeout_seconds = timeout_seconds
        self._children = [
            ChildProcess(_WORKER, [str(memory_bytes)], environment=_ENVIRONMENT) for _ in range(processes)
        ]
        self._idle: asyncio.LifoQueue[ChildProcess] = asyncio.LifoQueue()
        for child in self._children:
            self._idle.put_nowait(child)

    @property
    def capacity(self) -> int:
        """Pictures that are decoded at the same time."""
        return len(self._children)

    async def read(self, data: bytes) -> NormalisedPicture | Failure:
        """The picture, or why these bytes are none."""
        child = await self._idle.get()
        try:
            answer, (png, thumbnail) = await child.ask(
                {"max_pixels": self._max_pixels}, [data], timeout_seconds=self._timeout_seconds
            )
        except WorkerFaultError as fault:
            return Failure(fault.reason, str(fault))
        except WorkerLateError:
            return Failure(
                "DECODE_TIMEOUT", f"the picture took more than {self._timeout_seconds:g} seconds to decode"
            )
        except WorkerDiedError:
            return Failure("DECODER_CRASHED", "the decoder crashed on this file")
        finally:
            self._idle.put_nowait(child)
        return NormalisedPicture(
            png=png,
            width=answer["width"],
            height=answer["height"],
            source_format=answer["source_format"],
            fingerprint=Fingerprint(
                pixel_sha256=answer["pixel_sha256"],
                perceptual_hash=answer["perceptual_hash"],
                thumbnail=thumbnail,
            ),
        )

    async def close(self) -> None:
        """Ends the workers."""
        await asyncio.gather(*(child.close() for child in self._children))
