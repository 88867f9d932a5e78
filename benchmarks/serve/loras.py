"""LoRA files with random weights: every one changes every layer it sits on, for no B is zero."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from lorakit.adapter import Adapter, LoraWeights, save_kohya
from lorakit.families import sd15, sdxl
from lorakit.families.naming import UNET
from lorakit.module_shape import ModuleShape

_TARGETS = (sd15.Target.ATTENTION, sd15.Target.FEED_FORWARD)
_UP_SIZE = 0.02


@dataclass(frozen=True, slots=True)
class LoraOnDisk:
    """The same weights in the format that each side reads without converting, in float16."""

    name: str
    kohya: Path
    sha256: str
    diffusers: Path
    size_bytes: int


def write_pool(base: Path, folder: Path, *, count: int, rank: int) -> list[LoraOnDisk]:
    """So many LoRAs for the UNet of a pipeline directory."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = shapes_of(base)
    family = sdxl.FAMILY if (base / "text_encoder_2").exists() else sd15.FAMILY
    return [_write(_random_weights(shapes, seed, rank), family, folder, seed) for seed in range(count)]


def shapes_of(base: Path) -> dict[str, ModuleShape]:
    """The layers that LoRAs sit on, found without the weights."""
    with torch.device("meta"):
        made: Any = UNet2DConditionModel
        unet = made.from_config(made.load_config(base / "unet"))
    return sd15.target_modules(UNET, unet, _TARGETS)


def _write(weights: dict[str, LoraWeights], family: str, folder: Path, seed: int) -> LoraOnDisk:
    kohya, diffusers = folder / f"lora{seed}.safetensors", folder / f"lora{seed}.diffusers.safetensors"
    saved = save_kohya(Adapter({UNET: weights}, family), kohya, {"ss_network_module": "networks.lora"})
    save_file(_peft_names(weights), diffusers, metadata={"format": "pt"})
    return LoraOnDisk(f"lora{seed}", kohya, saved.sha256, diffusers, saved.size_bytes)


def _random_weights(shapes: dict[str, ModuleShape], seed: int, rank: int) -> dict[str, LoraWeights]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).half()

    return {
        path: LoraWeights(
            drawn(rank, shape.in_features) / shape.in_features**0.5,
            drawn(shape.out_features, rank) * _UP_SIZE,
            float(rank),
        )
        for path, shape in shapes.items()
    }


def _peft_names(weights: dict[str, LoraWeights]) -> dict[str, Tensor]:
    named = {}
    for path, entry in weights.items():
        named[f"unet.{path}.lora_A.weight"] = entry.down_RD
        named[f"unet.{path}.lora_B.weight"] = entry.up_OR
    return named
