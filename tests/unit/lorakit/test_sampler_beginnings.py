"""Rows that begin from a picture, against the loops of diffusers' image-to-image and inpainting pipelines
around the scheduler of the same name.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lorakit.samplers import (
    Beginning,
    Sampler,
    SamplerSettings,
    SamplingRow,
    advance,
    cut_plan,
    model_input,
    plan_row,
)
from lorakit.samplers.settings import SCHEDULERS
from tests.unit.lorakit.test_samplers import CONFIG, KARRAS_OF_DIFFUSERS, SHAPE, difference, model

# diffusers' schedulers hand tensors to numpy in a way that newer numpy versions remark on.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MEAN = torch.linspace(-2, 2, 256).reshape(SHAPE)
STD = torch.full(SHAPE, 0.3)
MASK = (torch.arange(64).reshape(1, 8, 8) % 5 < 2).float()


def beginning(strength: float, *, masked: bool) -> Beginning:
    return Beginning(mean_CHW=MEAN, std_CHW=STD, strength=strength, mask_1HW=MASK if masked else None)


def run_diffusers(scheduler: Any, steps: int, start: Beginning, seed: int) -> torch.Tensor:
    """What both pipelines do; the one for pictures without a mask never starts from noise alone."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    skipped = steps - min(int(steps * start.strength), steps)
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)

    def draw() -> torch.Tensor:
        return torch.randn((1, *SHAPE), generator=generator)

    clean = start.mean_CHW[None] + start.std_CHW * draw()
    noise = draw()
    latents = scheduler.add_noise(clean, noise, timesteps[:1])
    if start.mask_1HW is not None:
        draw()  # of the masked picture
        if start.strength == 1:
            latents = noise * scheduler.init_noise_sigma
    ancestral = type(scheduler).__name__ == "EulerAncestralDiscreteScheduler"
    for index, timestep in enumerate(timesteps):
        output = model(scheduler.scale_model_input(latents, timestep), timestep)
        extra = {"generator": generator} if ancestral else {}
        latents = scheduler.step(output, timestep, latents, return_dict=False, **extra)[0]
        if start.mask_1HW is not None:
            kept = clean
            if index < len(timesteps) - 1:
                kept = scheduler.add_noise(clean, noise, timesteps[index + 1 : index + 2])
            latents = (1 - start.mask_1HW) * kept + start.mask_1HW * latents
    return latents[0]


def run_row(
    sampler: Sampler, config: dict[str, Any], steps: int, start: Beginning, seed: int, *, karras: bool = False
) -> SamplingRow:
    plan = plan_row(SamplerSettings.from_scheduler_config(sampler, config), steps, karras=karras)
    row = SamplingRow.begin(cut_plan(plan, start.strength), seed, start)
    while not row.done:
        advance([row], model(*model_input([row])))
    return row


@pytest.mark.parametrize("masked", [False, True], ids=["picture", "mask"])
@pytest.mark.parametrize("strength", [0.06, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", list(Sampler))
def test_equals_the_diffusers_scheduler(
    sampler: Sampler, prediction: str, strength: float, masked: bool
) -> None:
    start = beginning(strength, masked=masked)
    for spacing, steps in (("leading", 20), ("trailing", 17), ("linspace", 18)):
        config = CONFIG | {"prediction_type": prediction, "timestep_spacing": spacing}
        theirs = run_diffusers(SCHEDULERS[sampler].from_config(config), steps, start, seed=7)
        ours = run_row(sampler, config, steps, start, seed=7)
        assert difference(ours.latents_CHW, theirs) < 2e-5


@pytest.mark.parametrize("masked", [False, True], ids=["picture", "mask"])
@pytest.mark.parametrize("sampler", KARRAS_OF_DIFFUSERS)
def test_equals_the_diffusers_scheduler_with_karras_noise_levels(sampler: Sampler, masked: bool) -> None:
    for strength in (0.3, 0.8, 1.0):
        start = beginning(strength, masked=masked)
        scheduler = SCHEDULERS[sampler].from_config(CONFIG, use_karras_sigmas=True)
        theirs = run_diffusers(scheduler, 11, start, seed=3)
        ours = run_row(sampler, CONFIG, 11, start, seed=3, karras=True)
        assert difference(ours.latents_CHW, theirs) < 2e-5


@pytest.mark.parametrize("changes", [{"solver_type": "heun"}, {"final_sigmas_type": "sigma_min"}])
@pytest.mark.parametrize("strength", [0.05, 0.4])
def test_dpmpp_variants_begin_with_a_first_order_step(changes: dict[str, Any], strength: float) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "_class_name"} | changes
    start = beginning(strength, masked=False)
    theirs = run_diffusers(SCHEDULERS[Sampler.DPMPP_2M].from_config(config), 20, start, seed=3)
    ours = run_row(Sampler.DPMPP_2M, config, 20, start, seed=3)
    assert difference(ours.latents_CHW, theirs) < 2e-5


def test_the_kept_part_is_the_picture_at_the_end_and_in_what_a_row_takes_for_clean() -> None:
    start = beginning(0.5, masked=True)
    row = run_row(Sampler.EULER_ANCESTRAL, CONFIG, 6, start, seed=1)
    first = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    clean_CHW = MEAN + STD * first
    kept = MASK.expand(SHAPE) == 0
    assert torch.equal(row.latents_CHW[kept], clean_CHW[kept])
    assert torch.equal(row.predicted_clean[kept], clean_CHW[kept])
    assert not torch.equal(row.latents_CHW[~kept], clean_CHW[~kept])


def test_a_strength_that_leaves_no_step_is_refused() -> None:
    plan = plan_row(SamplerSettings.from_scheduler_config(Sampler.EULER, CONFIG), 3)
    assert cut_plan(plan, 0.34).steps == 1
    with pytest.raises(ValueError, match=r"leaves none of 3 steps at 0.33; with so many it must be 1/3"):
        cut_plan(plan, 0.33)
