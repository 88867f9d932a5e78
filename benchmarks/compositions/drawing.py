"""Draws with stacks in the engine, all pictures of a stack in one batch."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image

from benchmarks.compositions.loras import MODELS
from demo import plan
from demo.brands import BrandSet
from demo.recipe.pictures import Pictures
from lorakit.base_digest import base_digest
from services.inference.domain import Composition, Sampler
from services.inference.domain_jobs import BaseRef, EngineEvent, ImageJob, LoraFile, RawPicture
from services.inference.engine.bases import picture_bases
from services.inference.engine.batch import DenoisingBatch
from services.inference.engine.preparation import Preparation
from services.inference.engine.row_memory import RowMemory
from services.inference.engine.safety import NoSafetyChecker
from services.inference.engine.stacks import Stacks
from services.inference.engine.texts import Texts
from services.inference.engine_messages import Failure


@dataclass(frozen=True, slots=True)
class Way:
    """How LoRAs of a stack work together."""

    title: str
    composition: Composition
    weight: float


class Drawer:
    """An engine in this process with the demo's base; ends its threads with the context."""

    def __init__(self, files: Mapping[str, Path], drawings: int) -> None:
        self._files = files
        self._drawings = drawings
        self._pictures: list[RawPicture] = []
        source = MODELS / "sd-tiny"
        self._base = BaseRef(name="sd-tiny", source=str(source), sha256=base_digest(source))
        preparation = Preparation(
            picture_bases(torch.device("cuda" if torch.cuda.is_available() else "cpu"), torch.float32, 1),
            Stacks(1 << 30, 1 << 30),
            Texts(1 << 28),
        )
        self._batch = DenoisingBatch(
            preparation,
            max_rows=32,
            row_memory=RowMemory(torch.device("cpu"), 1 << 40),
            safety=NoSafetyChecker(),
            emit=self._emit,
            finish=_check,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._batch.close()

    @property
    def pictures(self) -> int:
        """How many are drawn with each stack."""
        return len(plan.SCENES) * self._drawings

    def draw(self, stack: Sequence[BrandSet], way: Way, triggers: Sequence[BrandSet]) -> Pictures:
        """[N, H, W, 3] uint8: every scene, with the trigger words of some brands before it."""
        self._pictures = []
        words = [brand.trigger for brand in triggers]
        for number, scene in enumerate(plan.SCENES):
            prompt = ", ".join([*words, scene.prompt])
            self._batch.submit(self._job(f"{number}", prompt, scene.seed + 100 * number, stack, way))
        while self._batch.has_work:
            self._batch.step()
        drawn = [np.asarray(Image.open(io.BytesIO(picture.png))) for picture in self._pictures]
        return np.stack(drawn)

    def _job(self, name: str, prompt: str, seed: int, stack: Sequence[BrandSet], way: Way) -> ImageJob:
        return ImageJob(
            job_id=name,
            brand="study",
            base=self._base,
            prompt=prompt,
            negative_prompt="",
            loras=tuple(_lora(self._files[brand.brand], way.weight) for brand in stack),
            steps=plan.GENERATION_STEPS,
            guidance=plan.GUIDANCE_SCALE,
            sampler=Sampler.DPMPP_2M,
            karras=None,
            seed=seed,
            width=0,
            height=0,
            count=self._drawings,
            clip_skip=0,
            composition=way.composition,
        )

    def _emit(self, _: str, event: EngineEvent) -> None:
        if isinstance(event, RawPicture):
            self._pictures.append(event)


def _lora(file: Path, weight: float) -> LoraFile:
    return LoraFile(
        reference=file.stem,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        path=str(file),
        text_encoder_weight=weight,
        weight=weight,
    )


def _check(job_id: str, failure: Failure | None) -> None:
    if failure is not None:
        raise RuntimeError(f"{job_id}: {failure.message}")
