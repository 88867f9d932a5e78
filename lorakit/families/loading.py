"""Loads a base model of whatever diffusion family it is."""

from __future__ import annotations

from pathlib import Path

import torch

from lorakit.families import sd15, sdxl
from lorakit.families.diffusion_base import DiffusionBase
from lorakit.families.pipeline_index import directory_family


def load_diffusion_base(
    path: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    configs: Path | None = None,
    tokenizer: Path | None = None,
) -> DiffusionBase:
    """Load a pipeline directory of any family, or a single file of SD 1.5; see those modules.

    Raises BaseModelError saying what is missing or wrong.
    """
    if path.is_dir() and directory_family(path) == sdxl.FAMILY:
        return sdxl.load_base(path, dtype=dtype, device=device)
    return sd15.load_base(path, dtype=dtype, device=device, configs=configs, tokenizer=tokenizer)
