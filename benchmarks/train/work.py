"""What both sides train: the same jobs on the same base, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.train.load import PICTURES, Load
from lorakit.families.sd15 import BaseModel
from services.trainer.engine import DiffusionFamily, JobSpec, Pack, TrainingImage


def job_spec(load: Load, seed: int) -> JobSpec:
    """Attention and feed-forward layers, AdamW, min-SNR, clipped gradients: what people use."""
    return JobSpec(
        rank=load.rank,
        alpha=float(load.rank),
        dropout=0.0,
        targets=frozenset({"attention", "feed_forward"}),
        train_text_encoder=False,
        learning_rate=1e-4,
        text_encoder_learning_rate=0.0,
        schedule="constant",
        warmup_steps=0,
        batch_size=load.batch,
        total_steps=1_000_000,
        weight_decay=0.01,
        max_gradient_norm=1.0,
        min_snr_gamma=5.0,
        noise_offset=0.0,
        caption_dropout=0.0,
        seed=seed,
        horizontal_flip=False,
    )


def pictures(resolution: int, seed: int) -> list[TrainingImage]:
    """Noise: its content costs nothing and changes no time."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.rand(3, resolution, resolution, generator=generator) * 2 - 1 for _ in range(PICTURES)]
    return [TrainingImage(caption=f"picture {i}", load=lambda x=x: x) for i, x in enumerate(drawn)]  # type: ignore[misc]


def our_pack(base: BaseModel, load: Load, resolution: int, device: str, precision: str) -> Pack:
    """All jobs of the load in one pack."""
    pack = Pack(DiffusionFamily(base, resolution=resolution), precision=precision, device=device)
    for index in range(load.jobs):
        pack.add(f"job-{index}", job_spec(load, index), pictures(resolution, index))
    return pack


def our_round(pack: Pack) -> Callable[[], None]:
    """One step of every job."""

    def step() -> None:
        for report in pack.step():
            if report.fault is not None:
                raise report.fault

    return step
