"""Our engine in this process: all that the benchmark knows of its parts is here."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.serve.requests import GUIDANCE, NEGATIVE, StackRequest
from lorakit.routing import GatheredRouting
from services.inference.domain import Sampler
from services.inference.domain_jobs import BaseRef, EngineEvent, ImageJob, LoraFile, RawPicture
from services.inference.engine.bases import picture_bases
from services.inference.engine.batch import DenoisingBatch
from services.inference.engine.preparation import Preparation
from services.inference.engine.row_memory import RowMemory
from services.inference.engine.safety import NoSafetyChecker
from services.inference.engine.stacks import Stacks
from services.inference.engine.texts import Texts
from services.inference.engine_messages import Failure

LORA_MEMORY_BYTES = 8 << 30
"""More than any part needs."""
_FOLDED_PART = 1 / 8
_IDLE_SECONDS = 0.002
_TEXT_MEMORY_BYTES = 64 << 20


class OurEngine:
    """Takes requests and makes their pictures; the caller calls `step` for as long as it is `busy`."""

    def __init__(
        self,
        directory: Path,
        *,
        device: str,
        precision: str,
        max_rows: int,
        lora_memory_bytes: int = LORA_MEMORY_BYTES,
        compiled: bool = False,
    ) -> None:
        bases = picture_bases(
            torch.device(device),
            getattr(torch, precision),
            1,
            compile_backend="inductor" if compiled else "",
        )
        self._base = bases.preload(str(directory))
        # Most for files: stacks that differ share them, and rows keep their folded stacks themselves.
        folded_bytes = int(lora_memory_bytes * _FOLDED_PART)
        self._stacks = Stacks(lora_memory_bytes - folded_bytes, folded_bytes)
        self._batch = DenoisingBatch(
            Preparation(bases, self._stacks, Texts(_TEXT_MEMORY_BYTES)),
            max_rows=max_rows,
            row_memory=RowMemory(self._base.model.device),
            safety=NoSafetyChecker(),
            emit=self._take,
            finish=self._end,
        )
        self._numbers = itertools.count()
        self._pictures: dict[str, bytes] = {}
        self._ended: dict[str, float] = {}

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return self._batch.has_work

    def submit(self, request: StackRequest) -> str:
        """Takes a request; its name."""
        name = str(next(self._numbers))
        self._batch.submit(self._job(name, request))
        return name

    def step(self) -> None:
        """One denoising step of all that are in the batch."""
        self._batch.step(idle_seconds=_IDLE_SECONDS)

    def close(self) -> None:
        """Lets its threads end."""
        self._batch.close()

    def pictures(self, requests: Sequence[StackRequest]) -> list[bytes]:
        """PNGs of requests that came at once."""
        names = [self.submit(request) for request in requests]
        while self.busy:
            self.step()
        self._ended.clear()
        return [self._pictures.pop(name) for name in names]

    def take_ended(self) -> dict[str, float]:
        """Requests whose pictures are done and were not told yet -> `time.monotonic` of their ends."""
        ended, self._ended = self._ended, {}
        for name in ended:
            del self._pictures[name]
        return ended

    def attach(self, request: StackRequest, routing: GatheredRouting) -> None:
        """From files that this engine has not seen to weights in the layers' buffers."""
        adapter = self._stacks.fold(self._job("", request).loras, self._base).unet
        routing.set_rows([adapter], [2])

    def routing(self) -> GatheredRouting:
        """Buffers of a batch, none yet."""
        return GatheredRouting(self._base.model.device, self._base.dtype)

    def forget_loras(self) -> None:
        """Lets go of everything that was read from LoRA files."""
        self._stacks = Stacks(LORA_MEMORY_BYTES, LORA_MEMORY_BYTES)

    def _job(self, name: str, request: StackRequest) -> ImageJob:
        base = self._base
        return ImageJob(
            job_id=name,
            brand="bench",
            base=BaseRef(name="base", source=base.source, sha256=base.model.sha256),
            prompt=request.prompt,
            negative_prompt=NEGATIVE,
            loras=tuple(
                LoraFile(
                    reference=lora.name,
                    sha256=lora.sha256,
                    path=str(lora.kohya),
                    text_encoder_weight=weight,
                    weight=weight,
                )
                for lora, weight in request.stack
            ),
            steps=request.steps,
            guidance=GUIDANCE,
            sampler=Sampler.EULER,
            karras=None,
            seed=request.seed,
            width=0,
            height=0,
            count=1,
            clip_skip=0,
        )

    def _take(self, name: str, event: EngineEvent) -> None:
        if isinstance(event, RawPicture):
            self._pictures[name] = event.png

    def _end(self, name: str, failure: Failure | None) -> None:
        if failure is not None:
            raise RuntimeError(failure.message)
        self._ended[name] = time.monotonic()
