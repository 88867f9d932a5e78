"""Image-to-image and inpainting with a stack equal the stock pipelines: same LoRA files, seed, strength and
scheduler.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
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

from lorakit.families import sdxl
from lorakit.samplers import Sampler as LorakitSampler
from lorakit.samplers.settings import SCHEDULERS
from services.inference.domain import InitialImage, Sampler
from services.inference.domain_jobs import BaseRef, ImageJob, Preview
from tests.fixtures.picture_engine import run_alone
from tests.fixtures.pictures import encoded, noise
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline, tiny_sdxl_pipeline
from tests.integration.inference.test_equals_stock_diffusers import (
    DEMO,
    KARRAS,
    SCHEDULER_OF,
    TOLERANCE,
    World,
    make_world,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # peft remarks on what is the point here: a second adapter beside the first.
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Adapter .* was active:UserWarning"),
]

PICTURE = noise(3, 96, 96)
MASK = Image.fromarray(np.where(np.indices((96, 96)).sum(0) < 96, 0, 255).astype(np.uint8))
MASKED = [False, True]
NAMES = {False: "picture", True: "mask"}.get


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Random weights."""
    folder = tmp_path_factory.mktemp("beginnings")
    return make_world(save_tiny_pipeline(folder / "base"), folder, size=0.2)


def beginning(strength: float, *, masked: bool) -> InitialImage:
    return InitialImage(image=encoded(PICTURE), strength=strength, mask_png=encoded(MASK) if masked else b"")


def stock(
    components: Mapping[str, Any],
    scheduler_config: Any,
    job: ImageJob,
    kinds: tuple[Any, Any] = (StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline),
    **options: Any,
) -> torch.Tensor:
    """Latents [B, C, H, W] of the stock pipelines for a job's pictures, each by itself."""
    initial = job.initial_image
    assert initial is not None
    side = int(
        components["unet"].config.sample_size * 2 ** (len(components["vae"].config.block_out_channels) - 1)
    )
    size = {"width": job.width or side, "height": job.height or side}
    if initial.mask_png:
        options |= {"mask_image": MASK, **size}
    spacing = {"use_karras_sigmas": True} if job.karras else {}
    scheduler = SCHEDULERS[LorakitSampler(job.sampler.value)].from_config(scheduler_config, **spacing)
    kind = kinds[bool(initial.mask_png)]
    pipeline = kind(**{**components, "scheduler": scheduler}, **_without_checker(kind))
    pipeline.set_progress_bar_config(disable=True)
    # The one without masks takes pictures as they are.
    picture = PICTURE.resize((size["width"], size["height"]), Image.Resampling.LANCZOS)
    found = [
        pipeline(
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
        for index in range(job.count)
    ]
    return torch.cat(found)


def _without_checker(kind: Any) -> dict[str, Any]:
    return {} if "XL" in kind.__name__ else {"requires_safety_checker": False}


def assert_equal(job: ImageJob, latents_BCHW: torch.Tensor) -> None:
    engine = run_alone(job)
    for index, theirs in enumerate(latents_BCHW):
        ours = engine.latents[job.job_id, index]
        span = float(theirs.max() - theirs.min())
        assert float((ours - theirs).abs().max()) < TOLERANCE * span


def stock_of(world: World, job: ImageJob) -> torch.Tensor:
    """With the world's two LoRAs as the job has them."""
    pipeline = world.pipeline
    weights = {lora.reference: lora.weight for lora in job.loras}
    pipeline.set_adapters(
        [lora.reference for lora in world.loras], [weights.get(lora.reference, 0.0) for lora in world.loras]
    )
    return stock(pipeline.components, SCHEDULER_OF[world.directory], job)


@pytest.mark.parametrize("masked", MASKED, ids=NAMES)
@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=str)
def test_every_sampler_with_two_stacked_loras(
    world: World, sampler: Sampler, karras: bool, masked: bool
) -> None:
    job = world.job(
        sampler=sampler, karras=karras, loras=world.loras, initial_image=beginning(0.6, masked=masked)
    )
    assert_equal(job, stock_of(world, job))


@pytest.mark.parametrize("masked", MASKED, ids=NAMES)
@pytest.mark.parametrize(("strength", "guidance"), [(1.0, 5.0), (0.2, 1.0)])
def test_the_least_and_the_full_strength_of_several_pictures(
    world: World, strength: float, guidance: float, masked: bool
) -> None:
    job = world.job(
        sampler=Sampler.EULER_ANCESTRAL,
        count=2,
        width=24,
        height=16,
        guidance=guidance,
        initial_image=InitialImage(
            image=encoded(PICTURE.resize((24, 16), Image.Resampling.LANCZOS)),
            strength=strength,
            mask_png=encoded(MASK.resize((24, 16), Image.Resampling.LANCZOS)) if masked else b"",
        ),
    )
    assert_equal(job, stock_of(world, job))


def test_the_demo_model(tmp_path: Path) -> None:
    if not (DEMO / "model_index.json").is_file():
        pytest.skip("demo/models/sd-tiny is not there; make demo-models builds it")
    world = make_world(DEMO, tmp_path, size=0.05)
    # Stock inpainting takes no model with as many channels.
    job = world.job(steps=5, loras=world.loras, initial_image=beginning(0.7, masked=False))
    assert_equal(job, stock_of(world, job))


@pytest.mark.parametrize("masked", MASKED, ids=NAMES)
def test_sdxl(tmp_path: Path, world: World, masked: bool) -> None:
    directory = save_tiny_sdxl_pipeline(tmp_path / "sdxl")
    base = BaseRef(name="xl", source=str(directory), sha256=sdxl.load_base(directory).sha256, family="sdxl")
    job = world.job(base=base, sampler=Sampler.EULER, initial_image=beginning(0.6, masked=masked))
    pipeline = tiny_sdxl_pipeline()
    kinds = (StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline)
    assert_equal(job, stock(pipeline.components, pipeline.scheduler.config, job, kinds))


def test_pixels_under_the_dark_part_of_a_mask_are_those_of_the_picture(world: World) -> None:
    side = world.base.resolution
    picture = noise(5, side, side)
    mask = Image.fromarray(np.where(np.indices((side, side))[1] < side // 2, 0, 255).astype(np.uint8))
    initial = InitialImage(image=encoded(picture), strength=0.9, mask_png=encoded(mask))
    pixels = run_alone(world.job(initial_image=initial)).pixels("job")
    original = np.asarray(picture)
    assert np.array_equal(pixels[:, : side // 2], original[:, : side // 2])
    assert np.abs(pixels.astype(int) - original)[:, side // 2 :].mean() > 10


def test_previews_come_every_so_many_steps_and_lead_to_the_picture() -> None:
    if not (DEMO / "model_index.json").is_file():
        pytest.skip("demo/models/sd-tiny is not there; make demo-models builds it")
    from lorakit.families import sd15

    job = ImageJob(
        job_id="job",
        brand="acme",
        base=BaseRef(name="demo", source=str(DEMO), sha256=sd15.load_base(DEMO).sha256),
        prompt="a red cat on a hill",
        negative_prompt="",
        loras=(),
        steps=8,
        guidance=3.0,
        sampler=Sampler.DPMPP_2M,
        karras=None,
        seed=1,
        width=0,
        height=0,
        count=1,
        clip_skip=0,
        preview_every=4,
    )
    engine = run_alone(job)
    previews = [event for event in engine.events["job"] if isinstance(event, Preview)]
    assert [(preview.step, preview.width, preview.height) for preview in previews] == [
        (4, 128, 128),
        (8, 128, 128),
    ]
    last = Image.open(io.BytesIO(previews[-1].png))
    small = [picture.resize((16, 16), Image.Resampling.BOX) for picture in (last, engine_picture(engine))]
    first, second = (np.asarray(picture, dtype=float).ravel() for picture in small)
    assert np.corrcoef(first, second)[0, 1] > 0.9


def engine_picture(engine: Any) -> Image.Image:
    return Image.fromarray(engine.pixels("job"))
