"""The safety checker of Stable Diffusion, for operators who configure one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPImageProcessorPil

_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
_log = logging.getLogger(__name__)


class SafetyCheckerError(Exception):
    """The checker cannot be loaded; without it no picture may leave."""


class SafetyChecker(Protocol):
    """Says which pictures are to be withheld; asked from several threads."""

    def flags(self, pictures: Sequence[Image.Image]) -> list[bool]:
        """One for each RGB picture."""
        ...


class NoSafetyChecker:
    """None is configured: every picture may leave."""

    def flags(self, pictures: Sequence[Image.Image]) -> list[bool]:
        """See SafetyChecker."""
        return [False] * len(pictures)


@dataclass(frozen=True, slots=True)
class ClipSafetyChecker:
    """Compares what CLIP sees in a picture with a list of concepts, as a stock pipeline does."""

    # diffusers and transformers do not type what is asked of their models here.
    model: Any
    """StableDiffusionSafetyChecker"""
    processor: Any
    """CLIPImageProcessorPil"""

    @torch.inference_mode()
    def flags(self, pictures: Sequence[Image.Image]) -> list[bool]:
        """See SafetyChecker."""
        pixels = self.processor(images=list(pictures), return_tensors="pt").pixel_values
        # The model blackens what it flags; these stand for the pictures, which are not handed out at all.
        stand_ins = torch.zeros(len(pictures), 1)
        flagged = self.model(clip_input=pixels.to(self.model.device), images=stand_ins)[1]
        return [bool(flag) for flag in flagged]


def load_safety_checker(directory: str, device: torch.device) -> SafetyChecker:
    """The checker in a directory, read from safetensors alone; without a directory none.

    Raises SafetyCheckerError for one that is not whole.
    """
    if not directory:
        return NoSafetyChecker()
    path = Path(directory)
    for name in _FILES:
        if not (path / name).is_file():
            raise SafetyCheckerError(f"there is no {name} in {path}")
    try:
        loaded: Any = StableDiffusionSafetyChecker.from_pretrained(
            path, use_safetensors=True, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
        processor = CLIPImageProcessorPil.from_pretrained(path, local_files_only=True)
    except Exception as error:
        # Whatever is wrong with the files, the outcome is the same.
        raise SafetyCheckerError(f"{path}: {error}") from error
    model, found = loaded
    missing = sorted(found["missing_keys"])
    if missing:
        # They would have been drawn at random: a checker that flags nothing, or anything.
        raise SafetyCheckerError(f"{path}: {len(missing)} tensors are missing, such as {missing[0]}")
    _log.info("safety checker loaded from %s", path)
    return ClipSafetyChecker(model.requires_grad_(False).eval().to(device), processor)
