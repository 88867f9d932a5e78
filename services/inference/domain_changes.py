"""What the registry says of changes, and how fresh what was learnt from it is."""

from __future__ import annotations

from dataclasses import dataclass

LoraName = tuple[str, str]
"""(brand, LoRA)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryChange:
    """An entry of the registry's numbered log; numbers grow in the order in which changes become visible."""

    sequence: int
    lora: LoraName | None
    """None: a brand or a base model has changed."""
    made_at_nanoseconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolutionUsage:
    """How well the cache of resolutions does."""

    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    """Of the hits, those while the registry was away."""
    entries: int = 0
    age_seconds: float = 0.0
    """Since when changes may have been missed; 0 while the registry's changes are followed."""
