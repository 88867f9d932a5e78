"""One request from the engine equals the stock pipeline: same LoRA files, weights, seed and scheduler."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from lorakit.families import sd15
from lorakit.samplers import Sampler as LorakitSampler
from lorakit.samplers.settings import SCHEDULERS
from services.inference.domain import BaseRef, EngineEvent, ImageJob, LoraFile, RawPicture, Sampler
from services.inference.engine.bases import Bases
from services.inference.engine.batch import DenoisingBatch
from services.inference.engine.preparation import Preparation
from services.inference.engine.stacks import Stacks
from services.inference.engine.texts import Texts
from services.inference.engine_messages import Failure
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # peft remarks on what is the point here: a second adapter beside the first.
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Adapter .* was active:UserWarning"),
]

TOLERANCE = 1e-3
"""Of the latents' range."""
PROMPT, NEGATIVE = "a red fox riding a motorcycle", "blurred, grey"
KARRAS = [(sampler, False) for sampler in Sampler] + [(Sampler.EULER, True), (Sampler.DPMPP_2M, True)]


class Engine:
    """The denoising batch in this process; keeps every row's latents beside its picture."""

    def __init__(self, max_rows: int = 8) -> None:
        self.events: dict[str, list[EngineEvent]] = {}
        self.failures: dict[str, Failure | None] = {}
        self.latents: dict[tuple[str, int], torch.Tensor] = {}
        self.batch = DenoisingBatch(
            Preparation(Bases(torch.device("cpu"), torch.float32, 2), Stacks(64 << 20), Texts(8 << 20)),
            max_rows,
            lambda job_id, event: self.events.setdefault(job_id, []).append(event),
            self.failures.__setitem__,
        )

    def run(self, *jobs: ImageJob) -> None:
        for job in jobs:
            self.batch.submit(job)
        while self.batch.has_work:
            rows = [row for bucket in self.batch._buckets.values() for row in bucket.rows]
            self.batch.step()
            for row in rows:
                if row.sampling.done:
                    self.latents[row.job_id, row.index] = row.sampling.latents_CHW
        assert not any(self.failures.values()), self.failures

    def picture(self, job_id: str, index: int = 0) -> np.ndarray:
        pictures = {event.index: event for event in self.events[job_id] if isinstance(event, RawPicture)}
        return np.asarray(Image.open(io.BytesIO(pictures[index].png)))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def base(directory: Path) -> sd15.BaseModel:
    return sd15.load_base(directory)


@pytest.fixture(scope="module")
def loras(base: sd15.BaseModel, tmp_path_factory: pytest.TempPathFactory) -> list[LoraFile]:
    """Two stacked LoRAs with text-encoder parts; alpha is not the rank."""
    folder = tmp_path_factory.mktemp("loras")
    files = [
        write_lora(base, folder / "hero.safetensors", seed=1, rank=4, alpha=2.0),
        write_lora(base, folder / "neon.safetensors", seed=2, rank=8, alpha=5.0),
    ]
    return [
        LoraFile(
            reference=file.stem,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            path=str(file),
            text_encoder_weight=weight,
            weight=weight,
        )
        for file, weight in zip(files, (0.6, 0.8), strict=True)
    ]


@pytest.fixture(scope="module")
def make_job(directory: Path, base: sd15.BaseModel) -> Callable[..., ImageJob]:
    def make(**changes: Any) -> ImageJob:
        job = ImageJob(
            job_id="job",
            base=BaseRef(name="tiny", source=str(directory), sha256=base.sha256),
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            loras=(),
            steps=7,
            guidance=5.0,
            sampler=Sampler.DPMPP_2M,
            karras=False,
            seed=42,
            width=0,
            height=0,
            count=1,
            clip_skip=0,
        )
        return replace(job, **changes)

    return make


def stock(directory: Path, job: ImageJob, seeds: list[int]) -> tuple[torch.Tensor, np.ndarray]:
    """Latents and pictures of the stock pipeline with the job's LoRA files."""
    pipeline = StableDiffusionPipeline.from_pretrained(directory, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    options = {"use_karras_sigmas": True} if job.karras else {}
    scheduler = SCHEDULERS[LorakitSampler(job.sampler.value)]
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **options)
    for lora in job.loras:
        pipeline.load_lora_weights(
            str(Path(lora.path).parent), weight_name=Path(lora.path).name, adapter_name=lora.reference
        )
    if job.loras:
        weights = [{"unet": lora.weight, "text_encoder": lora.text_encoder_weight} for lora in job.loras]
        pipeline.set_adapters([lora.reference for lora in job.loras], weights)
    kept: list[torch.Tensor] = []
    for seed in seeds:
        latents = pipeline(
            job.prompt,
            negative_prompt=job.negative_prompt,
            num_inference_steps=job.steps,
            guidance_scale=job.guidance,
            generator=torch.Generator().manual_seed(seed),
            width=job.width or None,
            height=job.height or None,
            output_type="latent",
        ).images
        kept.append(latents)
    latents = torch.cat(kept)
    with torch.inference_mode():
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
    pictures = pipeline.image_processor.postprocess(decoded, output_type="np")
    return latents, (pictures * 255).round().astype(np.uint8)


def assert_equal(engine: Engine, job: ImageJob, latents: torch.Tensor, pictures: np.ndarray) -> None:
    for index in range(job.count):
        ours = engine.latents[job.job_id, index]
        span = float(latents[index].max() - latents[index].min())
        assert float((ours - latents[index]).abs().max()) < TOLERANCE * span
        difference = engine.picture(job.job_id, index).astype(int) - pictures[index].astype(int)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=lambda value: str(value))
def test_every_sampler_with_two_stacked_loras(
    directory: Path, loras: list[LoraFile], make_job: Callable[..., ImageJob], sampler: Sampler, karras: bool
) -> None:
    job = make_job(sampler=sampler, karras=karras, loras=tuple(loras))
    engine = Engine()
    engine.run(job)
    latents, pictures = stock(directory, job, [job.seed])
    assert_equal(engine, job, latents, pictures)
    # The stack must matter, or the comparison would prove nothing.
    plain = Engine()
    plain.run(make_job(sampler=sampler, karras=karras))
    assert float((plain.latents["job", 0] - latents[0]).abs().max()) > 0.05


@pytest.mark.parametrize("guidance", [1.0, 0.0, 7.5])
def test_guidance_and_several_pictures(
    directory: Path, loras: list[LoraFile], make_job: Callable[..., ImageJob], guidance: float
) -> None:
    job = make_job(guidance=guidance, count=3, sampler=Sampler.EULER_ANCESTRAL, loras=(loras[0],))
    engine = Engine()
    engine.run(job)
    latents, pictures = stock(directory, job, [42, 43, 44])
    assert_equal(engine, job, latents, pictures)


def test_text_encoder_and_unet_weights_apart_and_other_sizes(
    directory: Path, loras: list[LoraFile], make_job: Callable[..., ImageJob]
) -> None:
    stack = (replace(loras[0], weight=-0.4, text_encoder_weight=1.2),)
    job = make_job(loras=stack, width=24, height=16, sampler=Sampler.DDIM)
    engine = Engine()
    engine.run(job)
    latents, pictures = stock(directory, job, [42])
    assert_equal(engine, job, latents, pictures)
    assert engine.picture("job").shape == (16, 24, 3)


def test_a_mixed_batch_gives_every_request_what_it_gets_alone(
    loras: list[LoraFile], make_job: Callable[..., ImageJob]
) -> None:
    jobs = [
        make_job(job_id="a", loras=tuple(loras), sampler=Sampler.EULER, steps=5),
        make_job(job_id="b", sampler=Sampler.DPMPP_2M, karras=True, steps=9, seed=7, count=2),
        make_job(job_id="c", loras=(loras[1],), sampler=Sampler.EULER_ANCESTRAL, guidance=1.0, steps=4),
        make_job(job_id="d", loras=(loras[0],), sampler=Sampler.DDIM, width=24, prompt="a blue hat", steps=6),
        make_job(job_id="e", loras=(replace(loras[0], weight=0.1),), guidance=9.0, steps=3, seed=5),
    ]
    together = Engine(max_rows=4)
    together.run(*jobs)
    for job in jobs:
        alone = Engine()
        alone.run(job)
        for index in range(job.count):
            ours, solo = together.latents[job.job_id, index], alone.latents[job.job_id, index]
            assert float((ours - solo).abs().max()) < 1e-4 * float(solo.max() - solo.min())
