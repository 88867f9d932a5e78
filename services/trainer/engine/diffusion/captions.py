"""Captions as lists of tags: comma-separated parts, whose order a row may shuffle."""

from __future__ import annotations

import torch


def tags_of(caption: str) -> list[str]:
    """The comma-separated parts that say something."""
    return [tag for part in caption.split(",") if (tag := part.strip())]


def can_change(caption: str, keep: int) -> bool:
    """Whether shuffling behind the first `keep` tags can make another caption of it."""
    return len(tags_of(caption)) > keep + 1


def shuffled(caption: str, keep: int, generator: torch.Generator) -> str:
    """The caption with its tags in a new order, but for the first `keep`, which stay."""
    if not can_change(caption, keep):
        return caption
    tags = tags_of(caption)
    order = torch.randperm(len(tags) - keep, generator=generator).tolist()
    return ", ".join([*tags[:keep], *(tags[keep + index] for index in order)])
