"""Simple stand-ins behind the trainer's ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

from servicekit.artifacts.port import Artifact
from servicekit.errors import NotFound
from services.trainer.ports import QueueFigures, TextFault, TextsUncheckedError
from services.trainer.sources import BaseModel, LoraVersion
from services.trainer.text_manifest import Text


class ManualClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class FakeRegistry:
    """Brands, base models and versions by name."""

    def __init__(self) -> None:
        self.brands: set[str] = set()
        self.bases: dict[str, BaseModel] = {}
        self.versions: dict[str, LoraVersion] = {}

    async def require_brand(self, name: str) -> None:
        if name not in self.brands:
            raise NotFound.of("Brand", name)

    async def base_model(self, name: str) -> BaseModel:
        if name not in self.bases:
            raise NotFound.of("BaseModel", name)
        return self.bases[name]

    async def lora_version(self, name: str) -> LoraVersion:
        if name not in self.versions:
            raise NotFound.of("LoraVersion", name)
        return self.versions[name]


class MemoryArtifacts:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, artifact: Artifact, data: bytes) -> None:
        self.blobs[artifact.sha256] = data

    async def get_bytes(self, sha256: str, *, max_bytes: int) -> bytes:
        return self.blobs[sha256]

    async def open(self, sha256: str) -> AsyncIterator[bytes]:
        yield self.blobs[sha256]

    async def delete(self, sha256: str) -> None:
        self.blobs.pop(sha256, None)


class CountingMeters:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.images = 0
        self.lost = 0
        self.retries = 0
        self.ends: list[str] = []
        self.figures: QueueFigures | None = None

    def trained(self, images: int) -> None:
        self.images += images

    def leases_lost(self, count: int) -> None:
        self.lost += count

    def retried(self, count: int) -> None:
        self.retries += count

    def ended(self, state: str) -> None:
        self.ends.append(state)

    def queue(self, figures: QueueFigures) -> None:
        self.figures = figures


class FakeLengths:
    """Knows nothing wrong with any text unless told; remembers which it was asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.found: list[TextFault] = []
        self.unchecked = ""

    async def faults(self, base: BaseModel, texts: Mapping[int, Text]) -> list[TextFault]:
        self.asked = list(texts)
        if self.unchecked:
            raise TextsUncheckedError(self.unchecked)
        return self.found
