"""What LoRAs do together: against the stock pipeline where it can do the same, else against its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lorakit.samplers import SamplingRow, advance, model_input
from services.inference.domain import Box, Composition, Mask, Sampler, StepWindow
from services.inference.domain_jobs import ImageJob, LoraFile
from tests.fixtures.picture_engine import PictureEngine, run_alone
from tests.fixtures.pictures import encoded
from tests.fixtures.stock_world import STOCK_REMARKS, StockWorld

pytestmark = STOCK_REMARKS


def unet_only(world: StockWorld) -> tuple[LoraFile, LoraFile]:
    """The stock pipeline encodes its texts once, before the first step."""
    hero, neon = (replace(lora, text_encoder_weight=0.0) for lora in world.loras)
    return hero, neon


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DPMPP_2M])
def test_a_window_is_the_stock_pipeline_with_weights_set_between_steps(
    world: StockWorld, sampler: Sampler
) -> None:
    hero, neon = unet_only(world)
    windowed = replace(hero, window=StepWindow(start=0.2, end=0.8))
    job = world.job(loras=(windowed, neon), steps=10, sampler=sampler)

    def weights_at(step: int) -> dict[str, float]:
        return {"hero": hero.weight if 2 <= step < 8 else 0.0, "neon": neon.weight}

    engine = world.assert_equals_stock(job, weights_at)
    whole = run_alone(replace(job, loras=(hero, neon)))
    assert float((whole.latents["job", 0] - engine.latents["job", 0]).abs().max()) > 0.05


@pytest.mark.parametrize("every", [1, 3])
def test_switch_is_the_stock_pipeline_with_one_adapter_after_another(world: StockWorld, every: int) -> None:
    hero, neon = unet_only(world)
    job = world.job(loras=(hero, neon), steps=8, composition=Composition.SWITCH, switch_every=every)

    def weights_at(step: int) -> dict[str, float]:
        return [{"hero": hero.weight}, {"neon": neon.weight}][step // every % 2]

    world.assert_equals_stock(job, weights_at)


def scores(world: StockWorld, job: ImageJob, row: SamplingRow) -> torch.Tensor:
    """What the stock pipeline's models say for a row's next step with a job's stack, guided."""
    world.set_weights(job)
    pipeline = world.pipeline
    with torch.inference_mode():
        prompt, negative = pipeline.encode_prompt(job.prompt, "cpu", 1, True, job.negative_prompt)
        latents, timesteps = model_input([row])
        said = pipeline.unet(
            latents.repeat(2, 1, 1, 1), timesteps.repeat(2), torch.cat([negative, prompt]), return_dict=False
        )[0]
    return said[:1] + job.guidance * (said[1:] - said[:1])


def denoised(world: StockWorld, parts: list[tuple[ImageJob, torch.Tensor | float]]) -> torch.Tensor:
    """A picture whose every step is the sum of the parts' scores, each times its share."""
    job = parts[0][0]
    with PictureEngine() as engine:
        prepared = engine.preparation.prepare(replace(job, loras=()))
    row = SamplingRow.start(prepared.plan, job.seed, prepared.shape_CHW)
    while not row.done:
        advance([row], sum(share * scores(world, part, row) for part, share in parts))
    return row.latents_CHW


def assert_close(ours: torch.Tensor, expected: torch.Tensor) -> None:
    assert float((ours - expected).abs().max()) < 1e-3 * float(expected.max() - expected.min())


def test_composite_is_the_mean_of_what_each_says(world: StockWorld) -> None:
    hero, neon = world.loras
    job = world.job(loras=(hero, neon), composition=Composition.COMPOSITE, steps=5)
    parts = [(replace(job, loras=(hero,)), 0.5), (replace(job, loras=(neon,)), 0.5)]
    assert_close(run_alone(job).latents["job", 0], denoised(world, parts))


def test_a_lora_of_a_region_speaks_there_alone(world: StockWorld) -> None:
    hero, neon = world.loras
    left = replace(hero, region=Box(left=0.0, top=0.0, right=0.5, bottom=1.0))
    job = world.job(loras=(left, neon), steps=5)
    share = torch.zeros(8, 8)
    share[:, :4] = 1
    parts = [(replace(job, loras=(hero, neon)), share), (replace(job, loras=(neon,)), 1 - share)]
    assert_close(run_alone(job).latents["job", 0], denoised(world, parts))


def test_regions_that_overlap_share_the_place_and_masks_do_as_boxes(world: StockWorld) -> None:
    hero, neon = world.loras
    right_half = np.zeros((16, 16), np.uint8)
    right_half[:, 8:] = 255
    everywhere = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    masked = replace(neon, region=Mask(png=encoded(Image.fromarray(right_half))))
    job = world.job(loras=(replace(hero, region=everywhere), masked), steps=4)
    right = torch.zeros(8, 8)
    right[:, 4:] = 1
    parts = [
        (replace(job, loras=(hero,)), 1 - right / 2),
        (replace(job, loras=(neon,)), right / 2),
    ]
    assert_close(run_alone(job).latents["job", 0], denoised(world, parts))


def test_the_same_lora_twice_zero_and_negative_weights(world: StockWorld) -> None:
    hero, neon = world.loras
    twice = run_alone(world.job(loras=(hero, hero), steps=4)).latents["job", 0]
    double = replace(hero, weight=2 * hero.weight, text_encoder_weight=2 * hero.text_encoder_weight)
    assert torch.equal(twice, run_alone(world.job(loras=(double,), steps=4)).latents["job", 0])
    nothing = replace(neon, weight=0.0, text_encoder_weight=0.0)
    with_nothing = run_alone(world.job(loras=(hero, nothing), steps=4)).latents["job", 0]
    assert torch.equal(with_nothing, run_alone(world.job(loras=(hero,), steps=4)).latents["job", 0])
    against = replace(hero, weight=-hero.weight, text_encoder_weight=-hero.text_encoder_weight)
    gone = run_alone(world.job(loras=(hero, against), steps=4)).latents["job", 0]
    assert_close(gone, run_alone(world.job(steps=4)).latents["job", 0])


def test_a_window_without_a_step_and_a_broken_mask_are_refused_by_name(
    world: StockWorld, tmp_path: Path
) -> None:
    hero, neon = world.loras
    empty = replace(hero, window=StepWindow(start=0.31, end=0.35))
    broken = replace(neon, region=Mask(png=b"no picture"))
    with PictureEngine() as engine:
        engine.run(
            world.job(job_id="empty", loras=(empty,), steps=10),
            world.job(job_id="broken", loras=(broken,)),
            world.job(job_id="fine"),
        )
    faults = {job_id: end and (end.kind, end.reason) for job_id, end in engine.ends.items()}
    assert faults["empty"] == ("InvalidArgument", "STEP_WINDOW_EMPTY")
    assert faults["broken"] is not None
    assert faults["broken"][0] == "InvalidArgument"
    assert faults["fine"] is None
    assert engine.ends["empty"] is not None
    assert "hero" in engine.ends["empty"].message
