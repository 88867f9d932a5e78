"""Stacks that are kept loaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from servicekit.errors import FieldViolation, InvalidArgument
from services.inference.domain import Composition, StackEntry, faults_of_entry
from services.inference.domain_jobs import UsedLora

MAX_TIME_TO_LIVE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PinRequest:
    """A request to keep a stack loaded."""

    brand: str
    stack: tuple[StackEntry, ...]
    base_model: str = ""
    """`baseModels/{id}`, or empty for the service's default."""
    time_to_live_seconds: float
    """0 lets go of it."""

    def check(self) -> None:
        """Raises InvalidArgument with every faulty field."""
        faults: list[FieldViolation] = []
        for index, entry in enumerate(self.stack):
            faults += faults_of_entry(f"stack[{index}]", entry, Composition.ADD)
        if not 0 <= self.time_to_live_seconds <= MAX_TIME_TO_LIVE_SECONDS:
            told = (
                f"must be from 0 to {MAX_TIME_TO_LIVE_SECONDS:.0f} seconds, not {self.time_to_live_seconds}"
            )
            faults.append(FieldViolation("time_to_live", told))
        if faults:
            raise InvalidArgument(faults)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredPin:
    """A stack that the configuration keeps loaded for as long as the service runs."""

    brand: str
    tags: str
    """The stack as a prompt names it: `<lora:hero:0.6> <lora:neon>`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedStack:
    """A stack that is kept loaded, as the versions that its references mean now."""

    brand: str
    stack: tuple[UsedLora, ...]
    base_model_sha256: str
    expire_time: datetime | None
    """None: it stays, for the configuration says so; or it is not pinned any more."""
