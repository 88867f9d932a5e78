"""Trains the brands' LoRAs in one pack, with the demo's settings over fewer steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from demo import plan
from demo.brands import HELD_OUT_COUNT, TRAIN_COUNT, BrandSet
from demo.brands.sets import brand_picture
from demo.recipe.captioner import Captioner
from demo.recipe.pictures import Pictures, to_tensor
from demo.world import SIZE
from lorakit.adapter import Adapter, save_kohya
from lorakit.families.sd15 import load_base
from lorakit.metadata import TrainingFacts, build_metadata
from services.trainer.engine import DiffusionFamily, JobSpec, Pack, TrainingImage

MODELS: Final = Path(__file__).parents[2] / "demo" / "models"
STEPS: Final = 250
BATCH_SIZE: Final = 8
_LIKE: Final = "akari-travel"
"""Brands that the demo does not know are trained as this one of its own."""


def train_files(brands: Sequence[BrandSet], captioner: Captioner, folder: Path) -> dict[str, Path]:
    """Brand -> its LoRA as a kohya file in ``folder``."""
    return {
        name: _export(adapter, folder / f"{brand.lora}.safetensors")
        for brand, (name, adapter) in zip(brands, _train(brands, captioner).items(), strict=True)
    }


def held_out(brand: BrandSet) -> Pictures:
    """Pictures of a brand that its LoRA has not seen."""
    return _pictures(brand, "held-out", HELD_OUT_COUNT)


def _train(brands: Sequence[BrandSet], captioner: Captioner) -> dict[str, Adapter]:
    with Pack(DiffusionFamily(load_base(MODELS / "sd-tiny"), resolution=SIZE), precision="float32") as pack:
        for brand in brands:
            pack.add(brand.brand, _spec(brand), _training_images(brand, captioner))
        while reports := pack.step():
            faults = [report.fault for report in reports if report.fault is not None]
            if faults:
                raise RuntimeError(f"training failed: {faults}")
        return {brand.brand: pack.adapter(brand.brand) for brand in brands}


def _spec(brand: BrandSet) -> JobSpec:
    options = plan.TRAINING.get(brand.brand, plan.TRAINING[_LIKE])
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
        TrainingImage(caption=f"{brand.trigger}, {sentence}", load=partial(torch.clone, tensor))
        for sentence, tensor in zip(captioner.read(pictures), to_tensor(pictures), strict=True)
    ]


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
