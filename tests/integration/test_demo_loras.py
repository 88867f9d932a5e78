"""What the demo shows, in figures: LoRAs learn their brands, and stock diffusers draws with a stack of
two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from demo import plan
from demo.brands import BRANDS, HELD_OUT_COUNT, TRAIN_COUNT, BrandSet
from demo.brands.sets import brand_picture
from demo.recipe.captioner import Captioner
from demo.recipe.evaluate import generate, load_pipeline, nearness
from demo.recipe.pictures import Pictures, to_tensor
from demo.world import SIZE
from lorakit.adapter import Adapter, save_kohya
from lorakit.families.sd15 import load_base
from lorakit.metadata import TrainingFacts, build_metadata
from services.trainer.engine import DiffusionFamily, JobSpec, Pack, TrainingImage

MODELS: Final = Path(__file__).parents[2] / "demo" / "models"
CHARACTER: Final = BRANDS["hoot-robotics"]
STYLE: Final = BRANDS["lumen-signs"]
PAIR: Final = (CHARACTER, STYLE)
STEPS: Final = 250
BATCH_SIZE: Final = 8
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
    folder = tmp_path_factory.mktemp("loras")
    return {
        name: _export(adapter, folder / f"{BRANDS[name].lora}.safetensors")
        for name, adapter in _train(PAIR, captioner).items()
    }


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
        found[title] = {brand.lora: nearness(captioner, pictures, _held_out(brand)) for brand in PAIR}
    with capsys.disabled():
        _show(found)
    for brand in PAIR:
        base = found["base"][brand.lora]
        assert found[brand.lora][brand.lora] > base + GAIN_ALONE
        assert found["stack"][brand.lora] > base


def _train(brands: Sequence[BrandSet], captioner: Captioner) -> dict[str, Adapter]:
    """One pack, a job for each brand."""
    with Pack(DiffusionFamily(load_base(MODELS / "sd-tiny"), resolution=SIZE), precision="float32") as pack:
        for brand in brands:
            pack.add(brand.brand, _spec(brand), _training_images(brand, captioner))
        while reports := pack.step():
            assert [report.fault for report in reports] == [None] * len(reports)
        return {brand.brand: pack.adapter(brand.brand) for brand in brands}


def _spec(brand: BrandSet) -> JobSpec:
    """The demo's settings, over half its steps."""
    options = plan.TRAINING[brand.brand]
    return JobSpec(
        rank=options["rank"],
        alpha=options["alpha"],
        dropout=0.0,
        targets=frozenset(target.lower() for target in options["targets"]),
        train_text_encoder=False,
        learning_rate=options["learning_rate"],
        text_encoder_learning_rate=0.0,
        schedule="cosine",
        warmup_steps=options["warmup_steps"] * STEPS // options["max_steps"],
        batch_size=BATCH_SIZE,
        total_steps=STEPS,
        weight_decay=0.01,
        max_gradient_norm=1.0,
        min_snr_gamma=5.0,
        noise_offset=0.0,
        caption_dropout=options["caption_dropout"],
        seed=options["seed"],
        horizontal_flip=False,
    )


def _training_images(brand: BrandSet, captioner: Captioner) -> list[TrainingImage]:
    """The brand's pictures with captions as the demo makes them: the trigger word and the captioner's."""
    pictures = _pictures(brand, "train", TRAIN_COUNT)
    return [
        TrainingImage(caption=f"{brand.trigger}, {sentence}", load=lambda x=tensor: x)  # type: ignore[misc]
        for sentence, tensor in zip(captioner.read(pictures), to_tensor(pictures), strict=True)
    ]


def _held_out(brand: BrandSet) -> Pictures:
    return _pictures(brand, "held-out", HELD_OUT_COUNT)


def _pictures(brand: BrandSet, part: str, count: int) -> Pictures:
    return np.stack([np.asarray(brand_picture(brand, part, index)) for index in range(count)])


def _export(adapter: Adapter, file: Path) -> Path:
    facts = TrainingFacts(
        output_name=file.stem,
        family="sd15",
        rank=16,
        alpha=16.0,
        title=file.stem,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    save_kohya(adapter, file, build_metadata(facts))
    return file


def _show(found: dict[str, dict[str, float]]) -> None:
    print(f"\n{'nearness to':>12}", *(f"{brand.lora:>8}" for brand in PAIR))  # noqa: T201
    for title, figures in found.items():
        print(f"{title:>12}", *(f"{figures[brand.lora]:8.3f}" for brand in PAIR))  # noqa: T201
