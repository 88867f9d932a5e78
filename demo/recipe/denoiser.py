"""Trains the UNet and the text encoder together on cached latents."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from demo.recipe.clock import Average, Budget, attention_kernel, device, mixed_precision, set_rate
from demo.recipe.latents import LatentStore
from demo.recipe.pipeline import build_pipeline, new_scheduler, new_text_encoder, new_unet, save_pipeline
from demo.recipe.words import MAX_TOKENS, new_tokenizer, with_nonsense

CAPTION_DROPOUT = 0.1
NONSENSE = 0.15
MIN_SNR_GAMMA = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DenoiserPlan:
    """How long and how hard to train."""

    seconds: float
    batch: int = 32
    peak_rate: float = 8e-4
    ema: float = 0.999
    seed: int = 0
    export_seconds: float = 600.0
    """How often a usable pipeline is written while training goes on."""


class Denoiser(nn.Module):
    """UNet and text encoder as one set of weights."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = new_unet()
        self.text_encoder = new_text_encoder(tokenizer)

    def forward(self, x_BCHW: torch.Tensor, t_B: torch.Tensor, words_BT: torch.Tensor) -> torch.Tensor:
        """The velocity that the UNet sees in noisy latents."""
        return self.unet(x_BCHW, t_B, self.text_encoder(words_BT)[0], return_dict=False)[0]  # type: ignore[no-any-return]


def caption_for(store: LatentStore, row: int, rng: random.Random) -> str:
    """A wording drawn anew each time, at times empty, at times with unknown words."""
    if rng.random() < CAPTION_DROPOUT:
        return ""
    sentence = store.scenes[row].varied_caption(rng)
    return with_nonsense(sentence, rng) if rng.random() < NONSENSE else sentence


class _Noise:
    """Noise levels, velocity targets and min-SNR weights."""

    def __init__(self, where: torch.device) -> None:
        alphas = new_scheduler().alphas_cumprod.to(where)
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()
        # The weight of a clean-latent error is min(SNR + 1, gamma). Plain min-SNR tends to 0 for the noisiest
        # steps, yet those decide subject, colour and place.
        ease = 1 / (1 - alphas)
        self.weight = ease.clamp(max=MIN_SNR_GAMMA) / ease

    def loss(
        self, model: nn.Module, x: torch.Tensor, words: torch.Tensor, t: torch.Tensor, e: torch.Tensor
    ) -> torch.Tensor:
        """Weighted velocity error of one batch."""
        a, s = self.signal[t, None, None, None], self.noise[t, None, None, None]
        with mixed_precision(x.device), attention_kernel(x.device):
            guess = model(a * x + s * e, t, words)
        error = F.mse_loss(guess.float(), a * e - s * x, reduction="none").mean((1, 2, 3))
        return (error * self.weight[t]).mean()


def _stratified(batch: int, generator: torch.Generator) -> torch.Tensor:
    """Timesteps spread evenly over the range: less noise in the gradient than independent draws."""
    return (
        ((torch.arange(batch) + torch.rand(batch, generator=generator)) * (1000 / batch))
        .long()
        .clamp_(max=999)
    )


def train_denoiser(
    vae_directory: Path,
    latents: Path,
    out: Path,
    plan: DenoiserPlan,
    watch: Callable[[StableDiffusionPipeline], str] | None = None,
) -> None:
    """Train for about `plan.seconds`, exporting the averaged weights now and then, and at the end."""
    torch.manual_seed(plan.seed)
    rng, generator = random.Random(plan.seed), torch.Generator().manual_seed(plan.seed)
    where, tokenizer, store = device(), new_tokenizer(), LatentStore(latents)
    model = Denoiser(tokenizer).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average, noise = Average(model, plan.ema), _Noise(where)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    budget = Budget(plan.seconds, warmup=0.03, floor=0.01)
    shown = looked = exported = time.monotonic()
    step, running, count = 0, 0.0, store.refresh()
    while budget.spent < 1.0:
        set_rate(optimizer, budget.rate(plan.peak_rate))
        rows = [rng.randrange(count) for _ in range(plan.batch)]
        captions = [caption_for(store, row, rng) for row in rows]
        words = tokenizer(
            captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )
        x = store.take(rows, generator).to(where, memory_format=torch.channels_last)
        e, t = (
            torch.randn(x.shape, generator=generator).to(where),
            _stratified(plan.batch, generator).to(where),
        )
        loss = noise.loss(model, x, words["input_ids"].to(where), t, e)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        step, running = step + 1, running * 0.98 + float(loss.detach()) * 0.02
        now = time.monotonic()
        if now - looked > 20:
            looked, count = now, store.refresh()
        if now - shown > 60:
            shown = now
            print(
                f"denoiser {step} {budget.spent:.0%} loss {running / (1 - 0.98**step):.4f} pictures {count}",
                flush=True,
            )
        if now - exported > plan.export_seconds:
            exported = now
            _export(average, tokenizer, vae_directory, out, watch)
    _export(average, tokenizer, vae_directory, out, watch)


def _export(
    average: Average,
    tokenizer: CLIPTokenizer,
    vae_directory: Path,
    out: Path,
    watch: Callable[[StableDiffusionPipeline], str] | None,
) -> None:
    model = Denoiser(tokenizer)
    model.load_state_dict(average.weights)
    vae = AutoencoderKL.from_pretrained(vae_directory).float()
    pipeline = build_pipeline(vae, model.unet, model.text_encoder, tokenizer)
    if watch is not None:
        print(watch(copy.deepcopy(pipeline)), flush=True)
    save_pipeline(pipeline, out)
