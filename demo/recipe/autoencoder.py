"""Trains the KL autoencoder: 128 px pictures to 16 x 16 x 16 latents and back."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch.nn import functional as F

from demo.recipe.clock import Average, Budget, device, mixed_precision, set_rate
from demo.recipe.pictures import Pictures, draw_pool, draw_wide_pool, scenes, to_tensor
from demo.world import SIZE

CROP = 64
BATCH = 8
KL_WEIGHT = 3e-4
LATENT_CHANNELS = 16
PEAK_RATE = 1.5e-3
REFINE_RATE = 1e-3
LATENT_NOISE = 0.25
"""Largest noise that the decoder learns to overlook: a denoiser's latents are never exact."""


def new_autoencoder() -> AutoencoderKL:
    """Factor 8, no attention; the narrow first level keeps full-resolution work cheap."""
    return AutoencoderKL(  # type: ignore[no-any-return]
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=SIZE,
    )


def _crops(pool: Pictures, rng: random.Random, count: int) -> torch.Tensor:
    """Random crops: the network is convolutional, so a quarter of a picture teaches as well."""
    out = np.empty((count, CROP, CROP, 3), np.uint8)
    for i in range(count):
        y, x = rng.randint(0, SIZE - CROP), rng.randint(0, SIZE - CROP)
        crop = pool[rng.randrange(len(pool)), y : y + CROP, x : x + CROP]
        out[i] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return to_tensor(out)


def _edge_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Difference of the differences between neighbours: what keeps outlines sharp."""
    dx = F.l1_loss(a[..., :, 1:] - a[..., :, :-1], b[..., :, 1:] - b[..., :, :-1])
    dy = F.l1_loss(a[..., 1:, :] - a[..., :-1, :], b[..., 1:, :] - b[..., :-1, :])
    return dx + dy


def _opponent(x: torch.Tensor) -> torch.Tensor:
    """Coarse hue: differences between channels, which brightness drowns for a thousand steps otherwise."""
    small = F.avg_pool2d(x, 4)
    return torch.cat(
        [small[:, 0:1] - small[:, 1:2], small[:, 2:3] - 0.5 * (small[:, 0:1] + small[:, 1:2])], dim=1
    )


def _loss(model: AutoencoderKL, x: torch.Tensor, frozen: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction and a little KL; with a frozen encoder the decoder alone learns."""
    with mixed_precision(x.device):
        with torch.set_grad_enabled(not frozen):
            posterior = model.encode(x).latent_dist
            z = posterior.sample()
            if frozen:
                z = z + torch.randn_like(z) * torch.rand(len(z), 1, 1, 1, device=z.device) * LATENT_NOISE
        y = model.decode(z).sample
    y = y.float()
    # Squared errors beside absolute ones: a median forgets outlines one or two pixels wide.
    loss = 0.5 * F.l1_loss(y, x) + 1.5 * F.mse_loss(y, x) + 0.5 * _edge_loss(y, x)
    loss = loss + F.l1_loss(_opponent(y), _opponent(x))
    if not frozen:
        loss = loss + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
    return loss, F.mse_loss(y.detach(), x)


def train_autoencoder(out: Path, seconds: float, pool: Pictures, seed: int = 0) -> None:
    """Train encoder and decoder for about `seconds`, and save in float16."""
    torch.manual_seed(seed)
    model = new_autoencoder().to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload, arg-type]
    average = _fit(model, pool, seconds, PEAK_RATE, seed, frozen=False)
    _save(average, pool, out)


def refine_decoder(source: Path, out: Path, seconds: float, pool: Pictures, seed: int = 1) -> None:
    """Go on with the decoder alone, on disturbed latents. The encoder, and so all latents, stay."""
    torch.manual_seed(seed)
    model = AutoencoderKL.from_pretrained(source).float()
    scale = model.config.scaling_factor
    model = model.to(device(), memory_format=torch.channels_last)
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    average = _fit(model, pool, seconds, REFINE_RATE, seed, frozen=True)
    _save(average, pool, out, scale)


def _fit(
    model: AutoencoderKL, pool: Pictures, seconds: float, peak: float, seed: int, frozen: bool
) -> dict[str, torch.Tensor]:
    """The training loop; returns the averaged weights."""
    rng, where = random.Random(seed), device()
    average = Average(model, 0.997)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.99), weight_decay=1e-4)
    budget, shown, step = Budget(seconds), 0.0, 0
    errors: list[float] = []
    while budget.spent < 1.0:
        set_rate(optimizer, budget.rate(peak))
        x = _crops(pool, rng, BATCH).to(where, memory_format=torch.channels_last)
        loss, error = _loss(model, x, frozen)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(model)
        errors.append(float(error))
        step += 1
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f"autoencoder step {step} {budget.spent:.0%} mse {np.mean(errors[-200:]):.5f}", flush=True)
    return average.weights


def wide_pool(count: int, processes: int) -> Pictures:
    """Half base drawings, half pictures of the wider world."""
    return np.concatenate(
        [draw_pool(scenes(count // 2, seed=1), processes), draw_wide_pool(count // 2, 1, processes)]
    )


def _save(weights: dict[str, torch.Tensor], pool: Pictures, out: Path, scale: float | None = None) -> None:
    """Save with the scale that brings latents of base drawings (the pool's first half) to deviation 1."""
    final = new_autoencoder().eval()
    final.load_state_dict(weights)
    if scale is None:
        with torch.no_grad():
            some = to_tensor(pool[: len(pool) // 2 : max(1, len(pool) // 128)])
            scale = round(float(1.0 / final.encode(some).latent_dist.mean.std()), 4)
    final.register_to_config(scaling_factor=scale)
    final.half().save_pretrained(out)
