"""One request from the engine equals the stock pipeline: same LoRA files, weights, seed and scheduler."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from lorakit.families import sd15
from lorakit.samplers import Sampler as LorakitSampler
from lorakit.samplers.settings import SCHEDULERS
from services.inference.domain import Sampler
from services.inference.domain_jobs import BaseRef, ImageJob, LoraFile
from tests.fixtures.picture_engine import PictureEngine, run_alone
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
DEMO = Path(__file__).resolve().parents[3] / "demo" / "models" / "sd-tiny"
KARRAS = [(sampler, False) for sampler in Sampler] + [(Sampler.EULER, True), (Sampler.DPMPP_2M, True)]


@dataclass(frozen=True)
class World:
    """A base model, two LoRA files for it (alpha is not the rank), the stock pipeline with both loaded."""

    directory: Path
    base: sd15.BaseModel
    loras: tuple[LoraFile, ...]
    pipeline: StableDiffusionPipeline

    def job(self, **changes: Any) -> ImageJob:
        job = ImageJob(
            job_id="job",
            brand="acme",
            base=BaseRef(name="tiny", source=str(self.directory), sha256=self.base.sha256),
            prompt="a red fox riding a motorcycle",
            negative_prompt="blurred, grey",
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

    def stock(self, job: ImageJob) -> tuple[torch.Tensor, np.ndarray]:
        """Latents and pictures of the stock pipeline for a job."""
        pipeline = self.pipeline
        options = {"use_karras_sigmas": True} if job.karras else {}
        scheduler = SCHEDULERS[LorakitSampler(job.sampler.value)]
        pipeline.scheduler = scheduler.from_config(SCHEDULER_OF[self.directory], **options)
        pipeline.enable_lora()
        weights = {lora.reference: lora for lora in job.loras}
        pipeline.set_adapters(
            [lora.reference for lora in self.loras],
            [_component_weights(weights.get(lora.reference)) for lora in self.loras],
        )
        kept = [
            pipeline(
                job.prompt,
                negative_prompt=job.negative_prompt,
                num_inference_steps=job.steps,
                guidance_scale=job.guidance,
                generator=torch.Generator().manual_seed(job.seed + index),
                width=job.width or None,
                height=job.height or None,
                output_type="latent",
            ).images
            for index in range(job.count)
        ]
        latents = torch.cat(kept)
        with torch.inference_mode():
            scaled = latents / pipeline.vae.config.scaling_factor
            decoded = pipeline.vae.decode(scaled, return_dict=False)[0]
        pictures = pipeline.image_processor.postprocess(decoded, output_type="np")
        return latents, (pictures * 255).round().astype(np.uint8)


SCHEDULER_OF: dict[Path, Any] = {}


def _component_weights(lora: LoraFile | None) -> dict[str, float]:
    return (
        {"unet": lora.weight, "text_encoder": lora.text_encoder_weight}
        if lora
        else {"unet": 0.0, "text_encoder": 0.0}
    )


def make_world(directory: Path, folder: Path, size: float) -> World:
    base = sd15.load_base(directory)
    files = [
        write_lora(base, folder / "hero.safetensors", seed=1, rank=4, alpha=2.0, size=size),
        write_lora(base, folder / "neon.safetensors", seed=2, rank=8, alpha=5.0, size=size),
    ]
    pipeline = StableDiffusionPipeline.from_pretrained(directory, safety_checker=None, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    SCHEDULER_OF[directory] = pipeline.scheduler.config
    for file in files:
        pipeline.load_lora_weights(str(folder), weight_name=file.name, adapter_name=file.stem)
    loras = tuple(
        LoraFile(
            reference=file.stem,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            path=str(file),
            text_encoder_weight=weight,
            weight=weight,
        )
        for file, weight in zip(files, (0.6, 0.8), strict=True)
    )
    return World(directory, base, loras, pipeline)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    return make_world(save_tiny_pipeline(folder / "base"), folder, size=0.2)


@pytest.fixture(scope="module")
def demo_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The base model of the demo."""
    if not (DEMO / "model_index.json").is_file():
        pytest.skip("demo/models/sd-tiny is not there; make demo-models builds it")
    return make_world(DEMO, tmp_path_factory.mktemp("demo"), size=0.05)


def assert_equals_stock(world: World, job: ImageJob) -> PictureEngine:
    engine = run_alone(job)
    latents, pictures = world.stock(job)
    for index in range(job.count):
        ours = engine.latents[job.job_id, index]
        span = float(latents[index].max() - latents[index].min())
        assert float((ours - latents[index]).abs().max()) < TOLERANCE * span
        difference = engine.pixels(job.job_id, index).astype(int) - pictures[index].astype(int)
        assert np.abs(difference).max() <= 1
    return engine


@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=str)
def test_every_sampler_with_two_stacked_loras(world: World, sampler: Sampler, karras: bool) -> None:
    engine = assert_equals_stock(world, world.job(sampler=sampler, karras=karras, loras=world.loras))
    # The stack must matter, or the comparison would prove nothing.
    plain = run_alone(world.job(sampler=sampler, karras=karras))
    assert float((plain.latents["job", 0] - engine.latents["job", 0]).abs().max()) > 0.05


@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=str)
def test_every_sampler_on_the_demo_model(demo_world: World, sampler: Sampler, karras: bool) -> None:
    job = demo_world.job(sampler=sampler, karras=karras, loras=demo_world.loras, steps=4)
    assert_equals_stock(demo_world, job)


@pytest.mark.parametrize("guidance", [1.0, 0.0, 7.5])
def test_guidance_and_several_pictures(world: World, guidance: float) -> None:
    job = world.job(guidance=guidance, count=3, sampler=Sampler.EULER_ANCESTRAL, loras=world.loras[:1])
    assert_equals_stock(world, job)


def test_text_encoder_and_unet_weights_apart_and_other_sizes(world: World) -> None:
    stack = (replace(world.loras[0], weight=-0.4, text_encoder_weight=1.2),)
    engine = assert_equals_stock(world, world.job(loras=stack, width=24, height=16, sampler=Sampler.DDIM))
    assert engine.pixels("job").shape == (16, 24, 3)


def test_no_lora_at_all(world: World) -> None:
    assert_equals_stock(world, world.job(negative_prompt=""))


def test_a_mixed_batch_gives_every_request_what_it_gets_alone(world: World) -> None:
    hero, neon = world.loras
    jobs = [
        world.job(job_id="a", loras=(hero, neon), sampler=Sampler.EULER, steps=5),
        world.job(job_id="b", sampler=Sampler.DPMPP_2M, karras=True, steps=9, seed=7, count=2),
        world.job(job_id="c", loras=(neon,), sampler=Sampler.EULER_ANCESTRAL, guidance=1.0, steps=4),
        world.job(job_id="d", loras=(hero,), sampler=Sampler.DDIM, width=24, prompt="a blue hat", steps=6),
        world.job(job_id="e", loras=(replace(hero, weight=0.1),), guidance=9.0, steps=3, seed=5),
    ]
    together = run_alone(*jobs, max_rows=4)
    for job in jobs:
        alone = run_alone(job)
        for index in range(job.count):
            ours, solo = together.latents[job.job_id, index], alone.latents[job.job_id, index]
            assert float((ours - solo).abs().max()) < 1e-4 * float(solo.max() - solo.min())
