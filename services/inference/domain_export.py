"""A stack as one file for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from servicekit.errors import FieldViolation, InvalidArgument
from services.inference.domain import ALL_STEPS, Composition, Limits, StackEntry, faults_of_entry
from services.inference.domain_jobs import BaseRef, UsedLora


class Precision(StrEnum):
    """The numbers of an exported file; the value is torch's name."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """A request for a stack's file."""

    brand: str
    stack: tuple[StackEntry, ...]
    base_model: str = ""
    """`baseModels/{id}`, or empty for the service's default."""
    precision: Precision = Precision.FLOAT16

    def check(self, limits: Limits) -> None:
        """Raises InvalidArgument with every faulty field."""
        faults = []
        if not 1 <= len(self.stack) <= limits.max_stack:
            faults.append(FieldViolation("stack", f"must name 1 to {limits.max_stack} LoRAs"))
        for index, entry in enumerate(self.stack):
            place = f"stack[{index}]"
            faults += faults_of_entry(place, entry, Composition.ADD)
            if entry.window != ALL_STEPS:
                faults.append(FieldViolation(f"{place}.window", "cannot be said in a file of weights"))
            if entry.region is not None:
                faults.append(FieldViolation(f"{place}.region", "cannot be said in a file of weights"))
        if faults:
            raise InvalidArgument(faults)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOrder:
    """What is to be written: everything is on this host."""

    base: BaseRef
    stack: tuple[UsedLora, ...]
    paths: Mapping[str, Path]
    """By digest."""
    precision: Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFile:
    """A file that was written."""

    name: str
    """As the caller may call it."""
    sha256: str
    size_bytes: int
    path: Path
