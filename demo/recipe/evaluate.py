"""Measures the models: the captioner on held-out drawings, the base by what the captioner reads in it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from demo.recipe.captioner import Captioner
from demo.recipe.pictures import Pictures, draw_pool, to_tensor
from demo.world import Scene, parse_caption, sample_scene

ATTRIBUTES = ("subject", "colour", "place", "style")
GUIDANCE = 4.5
STEPS = 25


def held_out_scenes(count: int, seed: int = 9000) -> list[Scene]:
    """Scenes whose seeds no training pool uses."""
    rng = random.Random(f"held-out/{seed}")
    return [sample_scene(rng) for _ in range(count)]


def shares_right(scenes: Sequence[Scene], sentences: Sequence[str]) -> dict[str, float]:
    """For each attribute, the share of sentences that name it right."""
    parsed = [parse_caption(s) for s in sentences]
    return {
        a: round(float(np.mean([p[a] == getattr(s, a) for p, s in zip(parsed, scenes, strict=True)])), 4)
        for a in ATTRIBUTES
    }


def score_captioner(captioner: Captioner, count: int = 1000, processes: int = 1) -> dict[str, float]:
    """Share right on drawings never seen in training."""
    scenes = held_out_scenes(count)
    return shares_right(scenes, captioner.read(draw_pool(scenes, processes)))


@torch.no_grad()
def score_autoencoder(vae: AutoencoderKL, count: int = 200, processes: int = 1) -> dict[str, float]:
    """Reconstruction of held-out drawings, pixel values in [-1, 1]."""
    pictures = draw_pool(held_out_scenes(count, seed=9001), processes)
    errors = []
    for i in range(0, count, 20):
        x = to_tensor(pictures[i : i + 20])
        errors.append(
            float((vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1) - x).square().mean())
        )
    mse = float(np.mean(errors))
    return {"mse": round(mse, 5), "psnr_db": round(float(10 * np.log10(4.0 / mse)), 2)}


def generate(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seed: int = 0, batch: int = 20
) -> Pictures:
    """Pictures for prompts, in batches, each from its own generator."""
    pipeline.set_progress_bar_config(disable=True)
    rows = []
    for i in range(0, len(prompts), batch):
        part = list(prompts[i : i + batch])
        generators = [torch.Generator().manual_seed(seed + i + j) for j in range(len(part))]
        images = pipeline(
            part, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators
        ).images
        rows.append(np.stack([np.asarray(image) for image in images]))
    return np.concatenate(rows)


@dataclass(frozen=True, slots=True)
class BaseScore:
    """Shares right, with the pictures they were measured on."""

    shares: dict[str, float]
    pictures: Pictures


def score_base(pipeline: StableDiffusionPipeline, captioner: Captioner, count: int = 200) -> BaseScore:
    """Ask for held-out scenes in the canonical wording and read the pictures back."""
    scenes = held_out_scenes(count, seed=9002)
    pictures = generate(pipeline, [s.caption() for s in scenes])
    return BaseScore(shares_right(scenes, captioner.read(pictures)), pictures)


def nearness(captioner: Captioner, pictures: Pictures, reference: Pictures) -> float:
    """Mean cosine similarity of pictures to the centre of a reference set, in the captioner's features.

    Features are centred on base drawings first: raw features of any two drawings are alike.
    """
    world = captioner.features(draw_pool(held_out_scenes(96, seed=9003), 1)).mean(0)
    centre = captioner.features(reference).mean(0) - world
    rows = captioner.features(pictures) - world
    return float(torch.nn.functional.cosine_similarity(rows, centre[None]).mean())


def evaluate_models(
    models: Path, captioner: Captioner, prompts: int, made: str, processes: int = 1
) -> dict[str, Any]:
    """Everything that the model cards say about quality."""
    pipeline = load_pipeline(models / "sd-tiny")
    parts = {
        "unet": pipeline.unet,
        "vae": pipeline.vae,
        "text_encoder": pipeline.text_encoder,
        "captioner": captioner.model,
    }
    return {
        "captioner": score_captioner(captioner, processes=processes),
        "autoencoder": score_autoencoder(pipeline.vae, processes=processes),
        "base": score_base(pipeline, captioner, prompts).shares,
        "prompts": prompts,
        "guidance": GUIDANCE,
        "steps": STEPS,
        "sampler": "DDIM",
        "parameters_millions": {
            k: round(sum(p.numel() for p in m.parameters()) / 1e6, 3) for k, m in parts.items()
        },
        "made": made,
    }


def hardware() -> str:
    """What this process computes on, in words."""
    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    return f"a CPU, {torch.get_num_threads()} thread(s), float32"


def load_pipeline(directory: Path) -> StableDiffusionPipeline:
    """The stock pipeline, in float32."""
    diffusers_logging.disable_progress_bar()
    return StableDiffusionPipeline.from_pretrained(directory, safety_checker=None, torch_dtype=torch.float32)
