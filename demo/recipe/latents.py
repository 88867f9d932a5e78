"""Latents of the training drawings, encoded once and kept on disk in chunks that may still be growing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch.nn import functional as F

from demo.recipe.clock import device
from demo.recipe.pictures import Pictures, to_tensor
from demo.world import Scene
from demo.world.render import is_mirrored, subject_mask

CHUNK = 1000


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pictures: Pictures, batch: int = 50) -> torch.Tensor:
    """float16 [N, 2, C, H, W]: mean and deviation of the posterior, times the scaling factor."""
    rows = []
    where = next(vae.parameters()).device
    for i in range(0, len(pictures), batch):
        posterior = vae.encode(to_tensor(pictures[i : i + batch]).to(where)).latent_dist
        rows.append(torch.stack([posterior.mean, posterior.std], dim=1) * vae.config.scaling_factor)  # type: ignore[attr-defined]
    return torch.cat(rows).half().cpu()


def cover_masks(scenes: list[Scene]) -> NDArray[np.uint8]:
    """[N, 16, 16]: how much of each latent cell the subject covers, all subjects looking one way."""
    return _turned(np.stack([subject_mask(scene, 16) for scene in scenes]), scenes)


def _turned(pictures: NDArray[np.uint8], scenes: list[Scene]) -> NDArray[np.uint8]:
    """[N, H, W, ...] with mirrored subjects mirrored back (captions hold either way).

    A small model that sees both ways averages them and draws two tails and no head.
    """
    mirrored = [is_mirrored(scene) for scene in scenes]
    turned = pictures.copy()
    turned[mirrored] = pictures[mirrored, :, ::-1]
    return turned


def write_latents(vae_directory: Path, pictures: Pictures, scenes: list[Scene], out: Path) -> None:
    """Encode a pool, all subjects looking one way, chunk by chunk."""
    out.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL.from_pretrained(vae_directory).float().eval().to(device())
    for i in range(0, len(scenes), CHUNK):
        part = scenes[i : i + CHUNK]
        latents = encode_pictures(vae, _turned(pictures[i : i + CHUNK], part))
        name = f"p{i:06d}"
        (out / f"{name}.json").write_text(json.dumps([asdict(s) for s in part]))
        np.save(out / f"{name}.mask", cover_masks(part))
        np.save(out / f"{name}.tmp.npy", latents.numpy())
        (out / f"{name}.tmp.npy").rename(out / f"{name}.npy")


class LatentStore:
    """All chunks written so far; look again now and then while another process writes more."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.chunks: list[torch.Tensor] = []
        self.masks: list[torch.Tensor] = []
        self.scenes: list[Scene] = []
        self._seen: set[str] = set()

    def refresh(self) -> int:
        """Load new chunks; returns the number of pictures."""
        for file in sorted(self.directory.glob("*.npy")):
            if file.name not in self._seen and file.name.count(".") == 1:
                self._seen.add(file.name)
                self.chunks.append(torch.from_numpy(np.load(file)))
                self.masks.append(torch.from_numpy(np.load(file.with_suffix(".mask.npy"))))
                self.scenes += [Scene(**row) for row in json.loads(file.with_suffix(".json").read_text())]
        return len(self.scenes)

    def take(self, rows: list[int], generator: torch.Generator) -> torch.Tensor:
        """[B, C, H, W] samples of the posteriors."""
        pairs = torch.stack([self.chunks[r // CHUNK][r % CHUNK] for r in rows]).float()
        return pairs[:, 0] + pairs[:, 1] * torch.randn(pairs[:, 0].shape, generator=generator)

    def emphasis(self, rows: list[int], factor: float) -> torch.Tensor:
        """[B, 1, H, W] loss weights of mean 1: `factor` times as much on the subject and its rim."""
        cover = torch.stack([self.masks[r // CHUNK][r % CHUNK] for r in rows])[:, None].float() / 255
        weight = 1 + (factor - 1) * F.max_pool2d(cover, 3, stride=1, padding=1)
        return weight / weight.mean((2, 3), keepdim=True)
