"""What the demo shows, in figures: LoRAs learn their brands, and stock diffusers draws with a stack of
two.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import torch

from benchmarks.compositions.loras import MODELS, held_out, train_files
from demo import plan
from demo.brands import BRANDS
from demo.recipe.captioner import Captioner
from demo.recipe.evaluate import generate, load_pipeline, nearness

CHARACTER: Final = BRANDS["hoot-robotics"]
STYLE: Final = BRANDS["lumen-signs"]
PAIR: Final = (CHARACTER, STYLE)
STACKED_WEIGHT: Final = 0.8
DRAWINGS_PER_PROMPT: Final = 2
GAIN_ALONE: Final = 0.05

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(MODELS / "blip-tiny")


@pytest.fixture(scope="module")
def files(captioner: Captioner, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Brand -> its LoRA as a kohya file."""
    return train_files(PAIR, captioner, tmp_path_factory.mktemp("loras"))


def test_loras_bring_pictures_nearer_to_their_brands_and_a_stack_shows_both(
    captioner: Captioner, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = load_pipeline(MODELS / "sd-tiny")
    for name, file in files.items():
        pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=BRANDS[name].lora)
    stacks: dict[str, dict[str, float]] = {
        "base": {},
        **{brand.lora: {brand.lora: 1.0} for brand in PAIR},
        "stack": {brand.lora: STACKED_WEIGHT for brand in PAIR},
    }
    found: dict[str, dict[str, float]] = {}
    for title, weights in stacks.items():
        triggers = [brand.trigger for brand in PAIR if brand.lora in weights or not weights]
        if weights:
            pipeline.enable_lora()
            pipeline.set_adapters(list(weights), list(weights.values()))
        else:
            pipeline.disable_lora()
        prompts = [", ".join([*triggers, scene.prompt]) for scene in plan.SCENES] * DRAWINGS_PER_PROMPT
        pictures = generate(pipeline, prompts, seed=plan.SCENES[0].seed)
        found[title] = {brand.lora: nearness(captioner, pictures, held_out(brand)) for brand in PAIR}
    with capsys.disabled():
        _show(found)
    for brand in PAIR:
        base = found["base"][brand.lora]
        assert found[brand.lora][brand.lora] > base + GAIN_ALONE
        assert found["stack"][brand.lora] > base


def _show(found: dict[str, dict[str, float]]) -> None:
    print(f"\n{'nearness to':>12}", *(f"{brand.lora:>8}" for brand in PAIR))  # noqa: T201
    for title, figures in found.items():
        print(f"{title:>12}", *(f"{figures[brand.lora]:8.3f}" for brand in PAIR))  # noqa: T201
