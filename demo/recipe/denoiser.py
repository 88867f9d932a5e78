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

from demo.recipe.clock import Average, Budget, Running, attention_kernel, device, mixed_precision, set_rate
from demo.recipe.latents import LatentStore
from demo.recipe.pipeline import build_pipeline, new_scheduler, new_text_encoder, new_unet, save_pipeline
from demo.recipe.words import MAX_TOKENS, new_tokenizer, with_nonsense

CAPTION_DROPOUT = 0.1
NONSENSE = 0.15
MIN_SNR_GAMMA = 5.0
EMPHASIS = 4.0
"""How much more an error on the subject counts than one on the place: shapes are the last thing learned."""

MIDDLE, MIDDLE_SHARE = (250, 950), 0.7
"""Noise levels that decide shapes, and the share of training spent on them."""


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
    checkpoint: Path | None = None
    """Where to keep what is needed to go on later."""


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

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Weighted velocity error of one batch."""
        x, e, t = batch.latents, batch.noise, batch.times
        a, s = self.signal[t, None, None, None], self.noise[t, None, None, None]
        with mixed_precision(x.device), attention_kernel(x.device):
            guess = model(a * x + s * e, t, batch.words)
        error = F.mse_loss(guess.float(), a * e - s * x, reduction="none") * batch.emphasis
        return (error.mean((1, 2, 3)) * self.weight[t]).mean()


def _times(batch: int, generator: torch.Generator) -> torch.Tensor:
    """Timesteps, more of them where shapes are decided; evenly spread to steady the gradient."""
    u = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    middle = torch.rand(batch, generator=generator) < MIDDLE_SHARE
    low, high = MIDDLE
    return torch.where(middle, low + u * (high - low), u * 1000).long().clamp_(max=999)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one training step sees."""

    latents: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    words: torch.Tensor
    emphasis: torch.Tensor


class _Batches:
    """Random batches of cached latents with captions worded anew."""

    def __init__(self, store: LatentStore, tokenizer: CLIPTokenizer, plan: DenoiserPlan) -> None:
        self.store, self.tokenizer, self.size = store, tokenizer, plan.batch
        self.rng, self.generator = random.Random(plan.seed), torch.Generator().manual_seed(plan.seed)
        self.count, self.looked = store.refresh(), time.monotonic()

    def next(self, where: torch.device) -> Batch:
        """A batch on the given device; now and then, look for new chunks."""
        if time.monotonic() - self.looked > 20:
            self.looked, self.count = time.monotonic(), self.store.refresh()
        rows = [self.rng.randrange(self.count) for _ in range(self.size)]
        captions = [caption_for(self.store, row, self.rng) for row in rows]
        words = self.tokenizer(
            captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )["input_ids"]
        x = self.store.take(rows, self.generator)
        noise = torch.randn(x.shape, generator=self.generator)
        times = _times(self.size, self.generator)
        emphasis = self.store.emphasis(rows, EMPHASIS)
        return Batch(*(v.to(where) for v in (x, noise, times, words, emphasis)))


def train_denoiser(
    vae_directory: Path,
    latents: Path,
    out: Path,
    plan: DenoiserPlan,
    resume: Path | None = None,
    watch: Callable[[StableDiffusionPipeline], str] | None = None,
) -> None:
    """Train for about `plan.seconds`, exporting the averaged weights now and then, and at the end."""
    torch.manual_seed(plan.seed)
    where, tokenizer = device(), new_tokenizer()
    batches, noise = _Batches(LatentStore(latents), tokenizer, plan), _Noise(where)
    model = Denoiser(tokenizer).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = Average(model, plan.ema)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    step = _restore(resume, model, average, optimizer) if resume else 0
    budget, running = Budget(plan.seconds, warmup=0.03, floor=0.01), Running(0.98)
    shown = exported = time.monotonic()
    while budget.spent < 1.0:
        set_rate(optimizer, budget.rate(plan.peak_rate))
        loss = noise.loss(model, batches.next(where))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        running.add(float(loss.detach()))
        step, now = step + 1, time.monotonic()
        if now - shown > 60:
            shown = now
            print(
                f"denoiser {step} {budget.spent:.0%} loss {running.mean:.4f} of {batches.count}", flush=True
            )
        if now - exported > plan.export_seconds:
            exported = now
            _export(average, tokenizer, vae_directory, out, watch)
    if plan.checkpoint:
        state = {"model": model.state_dict(), "opt": optimizer.state_dict(), "ema": average.weights}
        torch.save({**state, "ema_steps": average.steps, "step": step}, plan.checkpoint)
    _export(average, tokenizer, vae_directory, out, watch)


def _restore(file: Path, model: nn.Module, average: Average, optimizer: torch.optim.Optimizer) -> int:
    """Go on from a checkpoint; returns the steps already done."""
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    average.weights, average.steps = state["ema"], state["ema_steps"]
    optimizer.load_state_dict(state["opt"])
    return int(state["step"])


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
