"""What a worker tells about the memory of its device."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

import torch

from lorakit.device_memory import free_bytes
from services.trainer.amounts import in_words
from services.trainer.engine import Family, MemoryBook
from services.trainer.memory_figures import AdapterNumbers, BaseMemory, PassMemory
from services.trainer.spec import Precision, Target


def device_title(device: str) -> str:
    """What the device is, how much memory it has, and on which host."""
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, total = properties.name, properties.total_memory
    else:
        name, total = "CPU", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{name}, {in_words(total)}, {socket.gethostname()[:64]}"


class MemoryReporter:
    """Watches what is measured while one pack lives; made when the base is there and no job yet."""

    def __init__(
        self,
        family: Family[Any, Any],
        device: str,
        book: MemoryBook,
        *,
        asked: Precision,
        precision: str,
    ) -> None:
        """`asked` is what the pack's jobs ask for, `precision` what the pack computes in."""
        self._autocast = torch.bfloat16 if precision == Precision.BFLOAT16 else None
        self._family = family
        self._book = book
        self._told = 0
        self._empty = BaseMemory(
            base_sha256=family.sha256,
            precision=asked,
            device=device_title(device),
            free_bytes=free_bytes(family.device),
            pass_bytes=book.budget(family.device),
            adapters=_adapters(family),
            passes=(),
        )

    def news(self) -> BaseMemory | None:
        """All that is known, if that is more than when it was last asked for."""
        if len(self._book.measured) == self._told:
            return None
        self._told = len(self._book.measured)
        passes = {
            PassMemory(
                area=self._family.area(kind.shape),
                recomputing=kind.setting.recomputing,
                fixed_bytes=memory.fixed,
                row_bytes=memory.per_row,
                parameters=kind.parameters,
            )
            for kind, memory in self._book.measured.items()
            if (kind.setting.base_sha256, kind.setting.autocast) == (self._family.sha256, self._autocast)
        }
        ordered = sorted(
            passes, key=lambda measured: (measured.area, measured.recomputing, measured.parameters)
        )
        return replace(self._empty, passes=tuple(ordered))


def _adapters(family: Family[Any, Any]) -> tuple[AdapterNumbers, ...]:
    """A LoRA of rank R has R numbers for each feature that goes into or comes out of its layers."""
    first, *others = family.components
    found = []
    for target in Target:
        for component in (first, *others):
            shapes = family.modules(component, frozenset({target.value})).values()
            numbers = sum(shape.in_features + shape.out_features for shape in shapes)
            found.append(AdapterNumbers(target, component != first, numbers))
    return tuple(found)
