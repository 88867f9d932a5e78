"""Loads a base model of whatever diffusion family it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from lorakit.errors import BaseModelError
from lorakit.families import sd15, sdxl
from lorakit.families.diffusion_base import DiffusionBase
from lorakit.families.pipeline_files import pipeline_class

_FAMILIES: Final[Mapping[str, str]] = {
    "StableDiffusionPipeline": sd15.FAMILY,
    "StableDiffusionXLPipeline": sdxl.FAMILY,
}


def directory_family(path: Path) -> str:
    """The family of a pipeline directory, by its index. Raises BaseModelError for one that is not known."""
    found = pipeline_class(path)
    if found not in _FAMILIES:
        raise BaseModelError(f"{path} is a {found!r}; known are {', '.join(_FAMILIES)}")
    return _FAMILIES[found]


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
