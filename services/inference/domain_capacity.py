"""What the service holds, does and can take."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.inference.domain import Limits, Sampler
from services.inference.domain_changes import ResolutionUsage
from services.inference.domain_pins import PinnedStack


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUsage:
    """One cache's budget and how well it does."""

    level: str
    used_bytes: int
    budget_bytes: int
    hits: int
    misses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedBase:
    """A base model that the engine holds."""

    sha256: str
    family: str
    source: str
    default: bool = False
    """Whether requests get it that name none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextState:
    """What the engine does with language models at this moment."""

    active_rows: int = 0
    bases: tuple[LoadedBase, ...] = ()
    caches: tuple[CacheUsage, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineState:
    """What the engine does at this moment."""

    ready: bool = False
    active_rows: int = 0
    bases: tuple[LoadedBase, ...] = ()
    caches: tuple[CacheUsage, ...] = ()
    texts: TextState = TextState()


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What the service can take now."""

    engine_ready: bool
    active_rows: int
    max_rows: int
    queued_requests: int
    limits: Limits
    bases: tuple[LoadedBase, ...]
    caches: tuple[CacheUsage, ...]
    samplers: tuple[Sampler, ...] = tuple(Sampler)
    pins: tuple[PinnedStack, ...] = ()
    resolutions: ResolutionUsage = field(default_factory=ResolutionUsage)
    active_text_rows: int = 0
    max_text_rows: int = 0
    draining: bool = False
    """Whether it finishes what it has and takes nothing new."""
