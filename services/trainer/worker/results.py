"""Files that a job makes: written, put into the store, told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from lorakit.adapter import Adapter, save_kohya
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.metadata import TrainingFacts, build_metadata, build_text_metadata
from lorakit.peft_config import CONFIG_FILE
from lorakit.peft_files import WEIGHTS_FILE, save_peft
from servicekit.artifacts.port import ArtifactStore
from servicekit.errors import DataLoss, NotFound
from services.trainer.engine.loss_plot import draw_loss_plot
from services.trainer.events import ArtifactKind, JobArtifact, MetricPoint
from services.trainer.sources import Blob
from services.trainer.spec import Optimizer
from services.trainer.worker.bucket_facts import bucket_facts
from services.trainer.worker.job_run import JobRun
from services.trainer.worker.patience import Patience
from services.trainer.worker.preview_sheet import SheetPicture
from services.trainer.worker.publisher import BINARY_MEDIA_TYPE, PICTURE_MEDIA_TYPE, TEXT_MEDIA_TYPE

JSON_MEDIA_TYPE: Final = "application/json"
_MOST_PICTURE_BYTES: Final = 64 << 20
_OPTIMIZERS: Final = {
    Optimizer.ADAMW: "torch.optim.AdamW",
    Optimizer.ADAMW_8BIT: "bitsandbytes.optim.AdamW8bit",
    Optimizer.PRODIGY: "prodigyopt.Prodigy",
    Optimizer.ADAFACTOR: "transformers.optimization.Adafactor",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture, uint8 [H, W, 3], or a text, and its prompt."""

    prompt: str
    made: np.ndarray | str


class Shelf:
    """Puts files of jobs into the artifact store and tells the trainer about them."""

    def __init__(self, store: ArtifactStore, patience: Patience) -> None:
        self._patience = patience
        self._store = store

    async def put_checkpoint(self, run: JobRun, path: Path, step: int) -> None:
        """A state to go on from."""
        await self._put_file(run, ArtifactKind.CHECKPOINT, path, BINARY_MEDIA_TYPE, step=step)
        await asyncio.to_thread(path.unlink)

    async def put_samples(self, run: JobRun, samples: Sequence[Sample], step: int) -> list[Blob]:
        """Sample pictures as PNG, sample texts as UTF-8; gives the pictures, for previews."""
        pictures, shown = [], []
        for number, sample in enumerate(samples):
            name = f"sample-{step:06d}-{number}"
            if isinstance(sample.made, str):
                run.log.add_text(step, sample.prompt, sample.made)
                data, name, media_type = sample.made.encode(), f"{name}.txt", TEXT_MEDIA_TYPE
            else:
                run.log.add_picture(step, sample.prompt, sample.made)
                shown.append(SheetPicture(sample.prompt, sample.made))
                data = await asyncio.to_thread(_png, sample.made)
                name, media_type = f"{name}.png", PICTURE_MEDIA_TYPE
            artifact = await self._patience.until_answered(partial(self._store.put_bytes, data), "put")
            blob = Blob(artifact.sha256, artifact.size_bytes)
            _tell(run, ArtifactKind.SAMPLE, name, blob, media_type, step=step, prompt=sample.prompt)
            if media_type == PICTURE_MEDIA_TYPE:
                pictures.append(blob)
        await asyncio.to_thread(run.sheet.add, step, shown)
        return pictures

    async def put_preview_sheet(self, run: JobRun) -> Blob | None:
        """The samples of all intervals in one picture; None when no pictures were made."""
        if not run.sheet.steps:
            return None
        if run.lease.checkpoint_step:
            await self._add_earlier_samples(run)
        path = run.directory / "preview-sheet.png"
        await asyncio.to_thread(run.sheet.draw, path, run.lease.lora_id)
        return await self._put_file(run, ArtifactKind.PREVIEW_SHEET, path, PICTURE_MEDIA_TYPE, step=run.step)

    async def _add_earlier_samples(self, run: JobRun) -> None:
        """Those of the attempts before, as far as the trainer still names them."""
        rows: dict[int, list[SheetPicture]] = {}
        for file in await run.samples():
            if file.step > run.lease.checkpoint_step or file.media_type != PICTURE_MEDIA_TYPE:
                continue
            read = partial(self._store.get_bytes, file.blob.sha256, max_bytes=_MOST_PICTURE_BYTES)
            try:
                data = await self._patience.until_answered(read, "get")
            except (NotFound, DataLoss):
                continue  # a gap on the sheet is no reason to lose the LoRA
            picture = await asyncio.to_thread(_pixels, data)
            rows.setdefault(file.step, []).append(SheetPicture(file.prompt, picture))
        for step, pictures in rows.items():
            await asyncio.to_thread(run.sheet.add, step, pictures)

    async def put_lora(self, run: JobRun, adapter: Adapter, prediction_type: str) -> Blob:
        """The result, with the metadata that other tools read: in kohya's format, or PEFT's for texts."""
        facts = _facts(run, adapter.family, prediction_type)
        if LANGUAGE_MODEL in adapter.components:
            return await self._put_peft(run, adapter, facts)
        path = run.directory / f"{run.lease.lora_id}.safetensors"
        await asyncio.to_thread(save_kohya, adapter, path, build_metadata(facts))
        return await self._put_file(run, ArtifactKind.LORA, path, BINARY_MEDIA_TYPE, step=run.step)

    async def _put_peft(self, run: JobRun, adapter: Adapter, facts: TrainingFacts) -> Blob:
        """Both files under PEFT's names: PEFT reads a directory that they are downloaded to."""
        base = facts.base_model_name or ""
        write = partial(save_peft, adapter, run.directory, build_text_metadata(facts), base_model=base)
        await asyncio.to_thread(write)
        config, weights = run.directory / CONFIG_FILE, run.directory / WEIGHTS_FILE
        await self._put_file(run, ArtifactKind.LORA, config, JSON_MEDIA_TYPE, step=run.step)
        return await self._put_file(run, ArtifactKind.LORA, weights, BINARY_MEDIA_TYPE, step=run.step)

    async def put_loss_plot(self, run: JobRun, points: Sequence[MetricPoint]) -> Blob:
        """A picture of the losses of all attempts."""
        path = run.directory / "loss.png"
        curve = [(point.step, point.loss, point.smoothed_loss) for point in points]
        evaluated = [
            (point.step, point.validation_loss) for point in points if point.validation_loss is not None
        ]
        await asyncio.to_thread(draw_loss_plot, path, run.lease.lora_id, curve, evaluated)
        return await self._put_file(run, ArtifactKind.LOSS_PLOT, path, PICTURE_MEDIA_TYPE, step=run.step)

    async def put_tensorboard(self, run: JobRun) -> None:
        """The event files of this attempt."""
        for path in await asyncio.to_thread(run.log.close):
            await self._put_file(run, ArtifactKind.TENSORBOARD, path, BINARY_MEDIA_TYPE, step=run.step)

    async def _put_file(
        self, run: JobRun, kind: ArtifactKind, path: Path, media_type: str, *, step: int
    ) -> Blob:
        artifact = await self._patience.until_answered(lambda: self._store.put_file(path), "put")
        blob = Blob(artifact.sha256, artifact.size_bytes)
        _tell(run, kind, path.name, blob, media_type, step=step)
        return blob


def _tell(
    run: JobRun, kind: ArtifactKind, name: str, blob: Blob, media_type: str, *, step: int, prompt: str = ""
) -> None:
    run.outbox.tell(
        JobArtifact(kind=kind, file_name=name, blob=blob, media_type=media_type, step=step, prompt=prompt)
    )


def _png(picture_HWC: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture_HWC).save(buffer, format="PNG")
    return buffer.getvalue()


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def _facts(run: JobRun, family: str, prediction_type: str) -> TrainingFacts:
    lease, spec, optimization = run.lease, run.lease.spec, run.lease.spec.optimization
    dataset = spec.dataset_revision.split("/")[3]
    materials = run.materials
    trains_text = spec.adapter.train_text_encoder
    return TrainingFacts(
        output_name=lease.lora_id,
        title=lease.lora_id,
        family=family,
        rank=spec.adapter.rank,
        alpha=spec.adapter.alpha,
        started_at=run.started_at,
        finished_at=datetime.now(UTC),
        network_args={"dropout": spec.adapter.dropout} if spec.adapter.dropout else {},
        base_model_name=spec.base_model.rpartition("/")[2],
        base_model_sha256=lease.base_sha256,
        resolution=(spec.resolution, spec.resolution),
        train_images=len(materials.items) if materials else None,
        steps=run.outcome.result_step if run.outcome else run.step,
        epochs=run.last.epoch if run.last else None,
        seed=spec.seed,
        batch_size=optimization.batch_size,
        learning_rate=optimization.learning_rate,
        text_encoder_learning_rate=optimization.text_encoder_learning_rate if trains_text else None,
        lr_schedule=optimization.schedule.value,
        optimizer=_OPTIMIZERS[optimization.optimizer],
        min_snr_gamma=spec.loss.min_snr_gamma or None,
        noise_offset=spec.loss.noise_offset or None,
        dataset_name=dataset,
        dataset_digest=lease.manifest.sha256,
        tag_frequency={dataset: materials.tag_frequency} if materials else None,
        buckets=bucket_facts(spec.aspect_ratio_buckets, materials.items) if materials else None,
        session_id=lease.name.rpartition("/")[2],
        comment=lease.name,
        trigger_words=spec.trigger_words,
        prediction_type=prediction_type,
    )
