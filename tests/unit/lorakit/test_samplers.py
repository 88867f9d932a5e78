"""Every sampler against the diffusers scheduler of the same name, and rows of one batch against rows
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler

from lorakit.samplers import RowPlan, Sampler, SamplerSettings, SamplingRow, advance, model_input, plan_row
from lorakit.samplers.settings import SCHEDULERS

# diffusers' schedulers hand tensors to numpy in a way that newer numpy versions remark on.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (4, 8, 8)
CONFIG: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}
KARRAS_OF_DIFFUSERS = (Sampler.EULER, Sampler.DPMPP_2M)


def model(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Stands for a UNet: smooth, depends on both arguments, of unit size."""
    times = timesteps.to(torch.float32).reshape(-1, 1, 1, 1) / 1000
    return torch.tanh(latents.flip(-1) * (0.5 + times)) + 0.3 * torch.sin(3 * latents + times)


def run_diffusers(scheduler: Any, steps: int, seed: int) -> torch.Tensor:
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn((1, *SHAPE), generator=generator) * scheduler.init_noise_sigma
    wants_generator = type(scheduler).__name__ == "EulerAncestralDiscreteScheduler"
    for timestep in scheduler.timesteps:
        output = model(scheduler.scale_model_input(latents, timestep), timestep)
        extra = {"generator": generator} if wants_generator else {}
        latents = scheduler.step(output, timestep, latents, return_dict=False, **extra)[0]
    return latents[0]


def run_rows(plans: list[RowPlan], seeds: list[int]) -> list[torch.Tensor]:
    """Denoise all rows as one batch that rows leave as they end."""
    rows = [SamplingRow.start(plan, seed, SHAPE) for plan, seed in zip(plans, seeds, strict=True)]
    while active := [row for row in rows if not row.done]:
        advance(active, model(*model_input(active)))
    return [row.latents_CHW for row in rows]


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", list(Sampler))
def test_equals_the_diffusers_scheduler(sampler: Sampler, prediction: str, spacing: str, steps: int) -> None:
    config = CONFIG | {"prediction_type": prediction, "timestep_spacing": spacing}
    theirs = run_diffusers(SCHEDULERS[sampler].from_config(config), steps, seed=11)
    plan = plan_row(SamplerSettings.from_scheduler_config(sampler, config), steps)
    (ours,) = run_rows([plan], [11])
    assert difference(ours, theirs) < 2e-5


@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", KARRAS_OF_DIFFUSERS)
def test_equals_the_diffusers_scheduler_with_karras_noise_levels(
    sampler: Sampler, prediction: str, steps: int
) -> None:
    config = CONFIG | {"prediction_type": prediction}
    theirs = run_diffusers(SCHEDULERS[sampler].from_config(config, use_karras_sigmas=True), steps, seed=5)
    plan = plan_row(SamplerSettings.from_scheduler_config(sampler, config), steps, karras=True)
    (ours,) = run_rows([plan], [5])
    assert difference(ours, theirs) < 2e-5


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_ancestral_karras_is_the_diffusers_step_at_diffusers_karras_levels(prediction: str) -> None:
    config = CONFIG | {"prediction_type": prediction}
    levels = EulerDiscreteScheduler.from_config(config, use_karras_sigmas=True)
    levels.set_timesteps(12)
    scheduler = SCHEDULERS[Sampler.EULER_ANCESTRAL].from_config(config)

    def set_karras(steps: int) -> None:
        scheduler.sigmas, scheduler.timesteps = levels.sigmas, levels.timesteps

    scheduler.set_timesteps = set_karras
    theirs = run_diffusers(scheduler, 12, seed=3)
    settings = SamplerSettings.from_scheduler_config(Sampler.EULER_ANCESTRAL, config)
    (ours,) = run_rows([plan_row(settings, 12, karras=True)], [3])
    assert difference(ours, theirs) < 2e-5


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_karras_is_euler_karras_in_other_units(prediction: str) -> None:
    config = CONFIG | {"prediction_type": prediction, "set_alpha_to_one": True}
    ddim = plan_row(SamplerSettings.from_scheduler_config(Sampler.DDIM, config), 9, karras=True)
    euler = plan_row(SamplerSettings.from_scheduler_config(Sampler.EULER, config), 9, karras=True)
    first = SamplingRow.start(ddim, 8, SHAPE)
    second = SamplingRow.start(euler, 8, SHAPE)
    # DDIM's latents are Euler's after the scaling that Euler does before asking the model.
    second.latents_CHW = first.latents_CHW / euler.input_scales_S[0]
    for row in (first, second):
        while not row.done:
            advance([row], model(*model_input([row])))
    assert difference(first.latents_CHW, second.latents_CHW) < 2e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_sample": True, "clip_sample_range": 0.8},
        {"set_alpha_to_one": True},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_schedule": "linear", "steps_offset": 0},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("sampler", list(Sampler))
def test_follows_the_scheduler_settings_of_the_base_model(sampler: Sampler, changes: dict[str, Any]) -> None:
    config = CONFIG | changes
    theirs = run_diffusers(SCHEDULERS[sampler].from_config(config), 10, seed=2)
    (ours,) = run_rows([plan_row(SamplerSettings.from_scheduler_config(sampler, config), 10)], [2])
    assert difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("changes", [{"solver_type": "heun"}, {"final_sigmas_type": "sigma_min"}])
def test_dpmpp_variants_equal_the_diffusers_scheduler(changes: dict[str, Any]) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "_class_name"} | changes
    theirs = run_diffusers(SCHEDULERS[Sampler.DPMPP_2M].from_config(config), 20, seed=2)
    (ours,) = run_rows([plan_row(SamplerSettings.from_scheduler_config(Sampler.DPMPP_2M, config), 20)], [2])
    assert difference(ours, theirs) < 2e-5


def test_settings_left_out_by_the_base_fall_back_as_in_diffusers() -> None:
    config = {key: value for key, value in CONFIG.items() if key not in ("timestep_spacing", "steps_offset")}
    for sampler in Sampler:
        theirs = run_diffusers(SCHEDULERS[sampler].from_config(config), 6, seed=1)
        (ours,) = run_rows([plan_row(SamplerSettings.from_scheduler_config(sampler, config), 6)], [1])
        assert difference(ours, theirs) < 2e-5


def test_rows_of_a_mixed_batch_are_what_they_are_alone() -> None:
    make: Callable[[Sampler, int, bool], RowPlan] = lambda sampler, steps, karras: plan_row(  # noqa: E731
        SamplerSettings.from_scheduler_config(sampler, CONFIG), steps, karras=karras
    )
    plans = [
        make(sampler, steps, karras) for sampler in Sampler for steps in (3, 8) for karras in (False, True)
    ]
    seeds = [100 + index for index in range(len(plans))]
    together = run_rows(plans, seeds)
    for plan, seed, row in zip(plans, seeds, together, strict=True):
        (alone,) = run_rows([plan], [seed])
        assert difference(row, alone) < 1e-6


def test_a_broken_row_does_not_touch_its_companions() -> None:
    plan = plan_row(SamplerSettings.from_scheduler_config(Sampler.DPMPP_2M, CONFIG), 4)
    rows = [SamplingRow.start(plan, seed, SHAPE) for seed in (1, 2)]
    rows[0].latents_CHW = torch.full(SHAPE, float("nan"))
    while not rows[1].done:
        advance(rows, model(*model_input(rows)))
    (alone,) = run_rows([plan], [2])
    assert torch.equal(rows[1].latents_CHW, alone)


def test_a_row_without_steps_left_is_refused() -> None:
    plan = plan_row(SamplerSettings.from_scheduler_config(Sampler.EULER, CONFIG), 1)
    row = SamplingRow.start(plan, 1, SHAPE)
    advance([row], model(*model_input([row])))
    with pytest.raises(ValueError, match="no step left"):
        advance([row], torch.zeros(1, *SHAPE))


@pytest.mark.parametrize("steps", [0, -1, 1000])
def test_impossible_step_counts_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="steps must be from 1 to 999"):
        plan_row(SamplerSettings.from_scheduler_config(Sampler.EULER, CONFIG), steps)


@pytest.mark.parametrize(
    ("sampler", "changes"),
    [
        (Sampler.EULER, {"prediction_type": "sample"}),
        (Sampler.DPMPP_2M, {"algorithm_type": "sde-dpmsolver++"}),
        (Sampler.DPMPP_2M, {"solver_order": 3}),
        (Sampler.DDIM, {"thresholding": True}),
    ],
)
def test_settings_it_cannot_follow_are_named(sampler: Sampler, changes: dict[str, Any]) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "_class_name"} | changes
    with pytest.raises(ValueError, match=next(iter(changes))):
        SamplerSettings.from_scheduler_config(sampler, config)
