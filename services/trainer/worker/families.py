"""The base models that a worker trains on: how each is loaded, and what learns on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorakit.base_digest import is_language_model
from lorakit.families.causal_lm import LanguageModel, load_language_model
from lorakit.families.diffusion_base import DiffusionBase
from lorakit.families.loading import load_diffusion_base
from services.trainer.engine import DiffusionFamily, Family, LanguageFamily

Base = DiffusionBase | LanguageModel


def load_any_base(
    path: Path, *, device: str, configs: Path | None = None, tokenizer: Path | None = None
) -> Base:
    """The base by what its files are; `configs` and `tokenizer` are for single files that hold none.

    Raises BaseModelError, OSError.
    """
    if is_language_model(path):
        return load_language_model(path, device=device)
    return load_diffusion_base(path, device=device, configs=configs, tokenizer=tokenizer)


def family_on(base: Base, *, resolution: int) -> Family[Any, Any]:
    """How jobs learn on a base; pictures have `resolution` pixels on a side."""
    if isinstance(base, LanguageModel):
        return LanguageFamily(base)
    return DiffusionFamily(base, resolution=resolution)


def prediction_type(base: Base) -> str:
    """What a diffusion model predicts; empty for language models."""
    return "" if isinstance(base, LanguageModel) else base.prediction_type
