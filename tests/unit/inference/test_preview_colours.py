"""Previews resemble the pictures that they are previews of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lorakit.families import sd15
from lorakit.samplers import Sampler, SamplingRow, advance, model_input, plan_row
from services.inference.engine.preview_colours import PreviewColours, encode_preview, fit_colours

DEMO = Path(__file__).resolve().parents[3] / "demo" / "models" / "sd-tiny"


@pytest.fixture(scope="module")
def demo_base() -> sd15.BaseModel:
    if not (DEMO / "model_index.json").is_file():
        pytest.skip("demo/models/sd-tiny is not there; make demo-models builds it")
    return sd15.load_base(DEMO)


@torch.inference_mode()
def test_a_preview_resembles_the_finished_picture(demo_base: sd15.BaseModel) -> None:
    prompts = ["a red cat on a hill", "a blue duck at night"]
    contexts = sd15.encode_prompt(demo_base, prompts)
    plan = plan_row(demo_base.sampler_settings(Sampler.DPMPP_2M), 6)
    shape = (demo_base.latent_channels, 16, 16)
    rows = [SamplingRow.start(plan, seed, shape) for seed in (1, 2)]
    while not rows[0].done:
        latents, timesteps = model_input(rows)
        advance(rows, demo_base.unet(latents, timesteps, contexts, return_dict=False)[0])
    colours = fit_colours(demo_base)
    decoded = sd15.decode_latents(demo_base, torch.stack([row.latents_CHW for row in rows]))
    small = torch.nn.functional.avg_pool2d(decoded, demo_base.vae_scale_factor)
    for row, wanted in zip(rows, small, strict=True):
        found = colours.colours(row.predicted_clean)
        assert float(torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1]) > 0.9


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(16, 16, (128, 128)), (64, 96, (128, 85)), (256, 8, (4, 128))]
)
def test_previews_are_as_large_as_can_be_looked_at(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    colours = PreviewColours(torch.eye(4, 3), torch.zeros(3))
    z_CHW = torch.zeros((4, height, width))
    z_CHW[0], z_CHW[1] = 9.0, -9.0
    picture = Image.open(io.BytesIO(encode_preview(colours.picture(z_CHW))))
    assert picture.size == expected
    # Red is beyond the brightest, green beyond the darkest, and blue is between.
    assert np.asarray(picture).reshape(-1, 3).tolist() == [[255, 0, 128]] * (expected[0] * expected[1])
    # Latents that are no numbers are dark.
    assert not np.asarray(colours.picture(z_CHW * torch.nan)).any()
