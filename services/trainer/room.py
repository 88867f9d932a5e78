"""How much of a device is left for jobs that join those that train there."""

from __future__ import annotations

from collections.abc import Iterable

from services.trainer.memory_figures import BaseMemory
from services.trainer.spec import TrainingSpec

Holding = tuple[str, TrainingSpec]
"""A job's base and spec: what it keeps on a device follows from them."""


class Room:
    """Counts what jobs keep on one device; on a base that was not measured there in their precision, there is
    always room."""

    def __init__(self, device: str, memories: Iterable[BaseMemory], held: Iterable[Holding] = ()) -> None:
        """`memories` is what was measured, on this device or others; `held` are the jobs that are there."""
        self._memories = {
            (memory.base_sha256, memory.precision): memory for memory in memories if memory.device == device
        }
        self._taken = 0
        for base_sha256, spec in held:
            self.hold(base_sha256, spec)

    def hold(self, base_sha256: str, spec: TrainingSpec) -> None:
        """Counts a job that is there already, whether it fits or not."""
        memory = self._memories.get((base_sha256, spec.precision))
        self._taken += memory.state_bytes(spec) if memory else 0

    def has(self, base_sha256: str, spec: TrainingSpec) -> bool:
        """Whether a job finds room."""
        memory = self._memories.get((base_sha256, spec.precision))
        if memory is None:
            return True
        return self._taken + memory.state_bytes(spec) + memory.row_bytes(spec) <= memory.free_bytes

    def take(self, base_sha256: str, spec: TrainingSpec) -> bool:
        """Whether a job finds room; if so it is taken."""
        found = self.has(base_sha256, spec)
        if found:
            self.hold(base_sha256, spec)
        return found
