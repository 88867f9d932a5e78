"""One request from the engine equals the stock pipeline: same LoRA files, weights, seed and scheduler."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from services.inference.domain import Box, Composition, Sampler, StepWindow
from tests.fixtures.picture_engine import run_alone
from tests.fixtures.stock_world import STOCK_REMARKS, StockWorld

pytestmark = STOCK_REMARKS
KARRAS = [(sampler, False) for sampler in Sampler] + [(Sampler.EULER, True), (Sampler.DPMPP_2M, True)]

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=str)
def test_every_sampler_with_two_stacked_loras(world: StockWorld, sampler: Sampler, karras: bool) -> None:
    engine = world.assert_equals_stock(world.job(sampler=sampler, karras=karras, loras=world.loras))
    # The stack must matter, or the comparison would prove nothing.
    plain = run_alone(world.job(sampler=sampler, karras=karras))
    assert float((plain.latents["job", 0] - engine.latents["job", 0]).abs().max()) > 0.05


@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=str)
def test_every_sampler_on_the_demo_model(demo_world: StockWorld, sampler: Sampler, karras: bool) -> None:
    job = demo_world.job(sampler=sampler, karras=karras, loras=demo_world.loras, steps=4)
    demo_world.assert_equals_stock(job)


@pytest.mark.parametrize(("sampler", "karras"), KARRAS, ids=str)
def test_every_sampler_on_sdxl(sdxl_world: StockWorld, sampler: Sampler, karras: bool) -> None:
    job = sdxl_world.job(sampler=sampler, karras=karras, loras=sdxl_world.loras, steps=5)
    sdxl_world.assert_equals_stock(job)


@pytest.mark.parametrize("negative_prompt", ["", "grey"])
def test_sdxl_without_a_negative_prompt_and_in_other_sizes(
    sdxl_world: StockWorld, negative_prompt: str
) -> None:
    stack = (replace(sdxl_world.loras[0], weight=-0.4, text_encoder_weight=1.2),)
    job = sdxl_world.job(
        loras=stack, width=24, height=16, negative_prompt=negative_prompt, clip_skip=0, count=2, steps=4
    )
    engine = sdxl_world.assert_equals_stock(job)
    assert engine.pixels("job").shape == (16, 24, 3)


@pytest.mark.parametrize("guidance", [1.0, 0.0, 7.5])
def test_guidance_and_several_pictures(world: StockWorld, guidance: float) -> None:
    job = world.job(guidance=guidance, count=3, sampler=Sampler.EULER_ANCESTRAL, loras=world.loras[:1])
    world.assert_equals_stock(job)


def test_text_encoder_and_unet_weights_apart_and_other_sizes(world: StockWorld) -> None:
    stack = (replace(world.loras[0], weight=-0.4, text_encoder_weight=1.2),)
    engine = world.assert_equals_stock(world.job(loras=stack, width=24, height=16, sampler=Sampler.DDIM))
    assert engine.pixels("job").shape == (16, 24, 3)


def test_no_lora_at_all(world: StockWorld) -> None:
    world.assert_equals_stock(world.job(negative_prompt=""))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03), (torch.float16, 0.005)], ids=str
)
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_mixed_batch_gives_every_request_what_it_gets_alone(
    request: pytest.FixtureRequest, family: str, dtype: torch.dtype, tolerance: float, device: str
) -> None:
    world: StockWorld = request.getfixturevalue("world" if family == "sd15" else "sdxl_world")
    hero, neon = world.loras
    half = StepWindow(start=0.0, end=0.5)
    left = Box(left=0.0, top=0.0, right=0.5, bottom=1.0)
    jobs = [
        world.job(job_id="a", loras=(hero, neon), sampler=Sampler.EULER, steps=5),
        world.job(job_id="b", sampler=Sampler.DPMPP_2M, karras=True, steps=9, seed=7, count=2),
        world.job(job_id="c", loras=(neon,), sampler=Sampler.EULER_ANCESTRAL, guidance=1.0, steps=4),
        world.job(job_id="d", loras=(hero,), sampler=Sampler.DDIM, width=24, prompt="a blue hat", steps=6),
        world.job(job_id="e", loras=(replace(hero, weight=0.1),), guidance=9.0, steps=3, seed=5),
        world.job(job_id="f", loras=(hero, neon), composition=Composition.COMPOSITE, steps=4),
        world.job(job_id="g", loras=(hero, neon), composition=Composition.SWITCH, switch_every=2, steps=5),
        world.job(job_id="h", loras=(replace(hero, window=half), replace(neon, region=left)), steps=6),
    ]
    together = run_alone(*jobs, max_rows=6, dtype=dtype, device=device)
    for job in jobs:
        alone = run_alone(job, dtype=dtype, device=device)
        for index in range(job.count):
            ours, solo = together.latents[job.job_id, index], alone.latents[job.job_id, index]
            assert float((ours - solo).abs().max()) < tolerance * float(solo.max() - solo.min())


@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.timeout(900),
                pytest.mark.skipif(not shutil.which("c++"), reason="inductor needs a C++ compiler"),
                pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch's own calls
            ],
        ),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_compiled_model_gives_what_the_plain_one_does(world: StockWorld, backend: str, device: str) -> None:
    hero, neon = world.loras
    jobs = [
        world.job(job_id="a", loras=(hero, neon), steps=4),
        world.job(job_id="b", loras=(neon,), steps=2, guidance=1.0),
        world.job(job_id="c", steps=3),
        # Other sizes make batches of their own: these two with the same number of forward rows.
        world.job(job_id="d", loras=(hero,), steps=4, width=24),
        world.job(job_id="e", loras=(neon, hero), steps=5, height=24),
    ]
    plain = run_alone(*jobs, device=device)
    compiled = run_alone(*jobs, device=device, compile_backend=backend)
    for place, latents in plain.latents.items():
        span = float(latents.max() - latents.min())
        assert float((compiled.latents[place] - latents).abs().max()) < 1e-4 * span
