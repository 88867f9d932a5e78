"""Image-to-image and inpainting with a stack equal the stock pipelines: same LoRA files, seed, strength and
scheduler.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from PIL import Image

from lorakit.samplers import Sampler as LorakitSampler
from lorakit.samplers.settings import SCHEDULERS
from services.inference.domain import InitialImage, Sampler
from services.inference.domain_jobs import ImageJob, Preview
from tests.fixtures.picture_engine import PictureEngine, run_alone
from tests.fixtures.pictures import encoded, noise
from tests.fixtures.stock_world import STOCK_REMARKS, TOLERANCE, StockWorld

pytestmark = STOCK_REMARKS
KARRAS = [(sampler, False) for sampler in Sampler] + [(Sampler.EULER, True), (Sampler.DPMPP_2M, True)]
PICTURE = noise(3, 96, 96)
MASK = Image.fromarray(np.where(np.indices((96, 96)).sum(0) < 96, 0, 255).astype(np.uint8))
PIPELINES: dict[tuple[str, bool], Any] = {
    ("sd15", False): StableDiffusionImg2ImgPipeline,
    ("sd15", True): StableDiffusionInpaintPipeline,
    ("sdxl", False): StableDiffusionXLImg2ImgPipeline,
    ("sdxl", True): StableDiffusionXLInpaintPipeline,
}
masks = pytest.mark.parametrize("masked", [False, True], ids=["picture", "mask"])


def beginning(strength: float, *, masked: bool, size: tuple[int, int] = (96, 96)) -> InitialImage:
    picture, mask = (each.resize(size, Image.Resampling.LANCZOS) for each in (PICTURE, MASK))
    return InitialImage(image=encoded(picture), strength=strength, mask_png=encoded(mask) if masked else b"")


def assert_equals_stock(world: StockWorld, job: ImageJob) -> None:
    engine = run_alone(job)
    for index in range(job.count):
        ours, theirs = engine.latents[job.job_id, index], stock(world, job, index)
        span = float(theirs.max() - theirs.min())
        assert float((ours - theirs).abs().max()) < TOLERANCE * span


def stock(world: StockWorld, job: ImageJob, index: int) -> torch.Tensor:
    """Latents [C, H, W] of one of a job's pictures."""
    initial = job.initial_image
    assert initial is not None
    kind = PIPELINES[world.base.family, bool(initial.mask_png)]
    spacing = {"use_karras_sigmas": True} if job.karras else {}
    scheduler = SCHEDULERS[LorakitSampler(job.sampler.value)].from_config(world.scheduler_config, **spacing)
    world.set_weights(job)
    unchecked = {"requires_safety_checker": False} if world.base.family == "sd15" else {}
    pipeline = kind(**{**world.pipeline.components, "scheduler": scheduler}, **unchecked)
    pipeline.set_progress_bar_config(disable=True)
    width, height = job.width or world.base.resolution, job.height or world.base.resolution
    options: dict[str, Any] = {}
    if initial.mask_png:
        mask = Image.open(io.BytesIO(initial.mask_png))
        options = {"mask_image": mask, "width": width, "height": height}
    # The ones without masks take pictures at their size.
    picture = Image.open(io.BytesIO(initial.image)).resize((width, height), Image.Resampling.LANCZOS)
    found = pipeline(
        job.prompt,
        image=picture,
        negative_prompt=job.negative_prompt,
        strength=initial.strength,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance,
        generator=torch.Generator().manual_seed(job.seed + index),
        output_type="latent",
        **options,
    ).images
    return found[0]


@masks
@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=str)
def test_every_sampler_with_two_stacked_loras(
    world: StockWorld, sampler: Sampler, karras: bool, masked: bool
) -> None:
    initial = beginning(0.6, masked=masked)
    assert_equals_stock(
        world, world.job(sampler=sampler, karras=karras, loras=world.loras, initial_image=initial)
    )


@masks
@pytest.mark.parametrize(("strength", "guidance"), [(1.0, 5.0), (0.2, 1.0)])
def test_the_least_and_the_full_strength_of_several_pictures(
    world: StockWorld, strength: float, guidance: float, masked: bool
) -> None:
    job = world.job(
        sampler=Sampler.EULER_ANCESTRAL,
        count=2,
        width=24,
        height=16,
        guidance=guidance,
        initial_image=beginning(strength, masked=masked, size=(24, 16)),
    )
    assert_equals_stock(world, job)


def test_the_demo_model(demo_world: StockWorld) -> None:
    # Stock inpainting takes no model with as many channels.
    initial = beginning(0.7, masked=False)
    assert_equals_stock(demo_world, demo_world.job(steps=5, loras=demo_world.loras, initial_image=initial))


@masks
def test_sdxl(sdxl_world: StockWorld, masked: bool) -> None:
    initial = beginning(0.6, masked=masked)
    job = sdxl_world.job(loras=sdxl_world.loras, sampler=Sampler.EULER, initial_image=initial)
    assert_equals_stock(sdxl_world, job)


def test_pixels_under_the_dark_part_of_a_mask_are_those_of_the_picture(world: StockWorld) -> None:
    side = world.base.resolution
    picture = noise(5, side, side)
    mask = Image.fromarray(np.where(np.indices((side, side))[1] < side // 2, 0, 255).astype(np.uint8))
    initial = InitialImage(image=encoded(picture), strength=0.9, mask_png=encoded(mask))
    pixels = run_alone(world.job(initial_image=initial)).pixels("job")
    original = np.asarray(picture)
    assert np.array_equal(pixels[:, : side // 2], original[:, : side // 2])
    assert np.abs(pixels.astype(int) - original)[:, side // 2 :].mean() > 10


def test_previews_come_every_so_many_steps_and_lead_to_the_picture(demo_world: StockWorld) -> None:
    engine = run_alone(demo_world.job(prompt="a red cat on a hill", steps=8, preview_every=4))
    previews = [event for event in engine.events["job"] if isinstance(event, Preview)]
    sizes = [(preview.step, preview.width, preview.height) for preview in previews]
    assert sizes == [(4, 128, 128), (8, 128, 128)]
    last, made = Image.open(io.BytesIO(previews[-1].png)), Image.fromarray(engine.pixels("job"))
    small = [np.asarray(each.resize((16, 16), Image.Resampling.BOX)).ravel() for each in (last, made)]
    assert np.corrcoef(*small)[0, 1] > 0.9


def test_rows_that_begin_from_pictures_share_batches_with_others(world: StockWorld) -> None:
    jobs = [
        world.job(job_id="noise", loras=world.loras, steps=5),
        world.job(job_id="picture", steps=6, initial_image=beginning(0.7, masked=False)),
        world.job(
            job_id="mask",
            loras=world.loras[:1],
            sampler=Sampler.EULER_ANCESTRAL,
            initial_image=beginning(0.9, masked=True),
        ),
    ]
    together = run_alone(*jobs)
    for job in jobs:
        ours, solo = together.latents[job.job_id, 0], run_alone(job).latents[job.job_id, 0]
        assert float((ours - solo).abs().max()) < 1e-4 * float(solo.max() - solo.min())


def test_a_strength_that_leaves_no_step_is_refused_by_its_field(world: StockWorld) -> None:
    with PictureEngine() as engine:
        engine.run(world.job(steps=5, initial_image=beginning(0.1, masked=False)))
    failure = engine.ends["job"]
    assert failure is not None
    assert (failure.kind, failure.field) == ("InvalidArgument", "initial_image.strength")
    assert "1/5" in failure.message
