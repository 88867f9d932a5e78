"""What training takes of a device's memory, from what its workers have measured on it; never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.trainer.amounts import in_words
from services.trainer.buckets import bucket_sizes
from services.trainer.spec import Optimizer, Precision, Target, TrainingSpec

_WEIGHT: Final = 4
_GRADIENT: Final = 4
_AVERAGE: Final = 4
_OPTIMIZER_BYTES: Final = {
    Optimizer.ADAMW: 8,
    Optimizer.ADAMW_8BIT: 2,
    Optimizer.PRODIGY: 16,
    Optimizer.ADAFACTOR: 0,
}
"""Of each number: two averages in float32 or in 8 bits; Prodigy's start and step sums too; rows and columns
only, which is next to nothing.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassMemory:
    """What a pass over rows of one size takes at its peak, beside everything that stays."""

    area: int
    """Pixels of a row's picture, or tokens of its text."""
    recomputing: bool
    """With gradient checkpointing."""
    fixed_bytes: int
    row_bytes: int
    parameters: int = 0
    """Bits of the number of numbers in the measured job's adapter; its gradients are counted."""

    def at(self, area: int) -> int:
        """What one row of that area takes at least: activations grow with the area, or faster."""
        return self.fixed_bytes + self.row_bytes * area // self.area


@dataclass(frozen=True, slots=True)
class AdapterNumbers:
    """Numbers of an adapter of rank 1 on the base's layers of one target."""

    target: Target
    text_encoder: bool
    per_rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseMemory:
    """One base on one device."""

    base_sha256: str
    precision: Precision
    """As the jobs ask for it: what AUTO means is the device's own affair."""
    device: str
    free_bytes: int
    """Beside the base, before any job."""
    pass_bytes: int
    """What a pass may take at most."""
    adapters: tuple[AdapterNumbers, ...]
    passes: tuple[PassMemory, ...]

    def state_bytes(self, spec: TrainingSpec) -> int:
        """What a job keeps there for as long as it trains: weights, gradients, the optimizer's averages."""
        each = _WEIGHT + _GRADIENT + _OPTIMIZER_BYTES[spec.optimization.optimizer]
        if spec.optimization.ema_decay:
            each += _AVERAGE
        return self._numbers(spec) * each

    def row_bytes(self, spec: TrainingSpec) -> int:
        """What a pass over one row of the job takes at least; 0 if nothing that says so was measured.

        Only passes with gradient checkpointing say so, and only those of an adapter that was no larger.
        """
        if not spec.resolution:
            return 0
        sizes = bucket_sizes(spec.resolution, spec.aspect_ratio_buckets)
        area = min(width * height for width, height in sizes)
        parameters = self._numbers(spec).bit_length()
        known = [
            measured.at(area)
            for measured in self.passes
            if measured.recomputing and measured.area <= area and measured.parameters <= parameters
        ]
        return max(known, default=0)

    def least_bytes(self, spec: TrainingSpec) -> int:
        """What training the job alone takes at least."""
        gradients = self._numbers(spec) * _GRADIENT
        # What was measured of a pass has gradients of its own in it.
        return self.state_bytes(spec) + max(0, self.row_bytes(spec) - gradients)

    def _numbers(self, spec: TrainingSpec) -> int:
        """In the job's adapter."""
        per_rank = sum(
            part.per_rank
            for part in self.adapters
            if part.target in spec.adapter.targets
            and (spec.adapter.train_text_encoder or not part.text_encoder)
        )
        return per_rank * spec.adapter.rank


def shortage(spec: TrainingSpec, devices: Sequence[BaseMemory]) -> tuple[str, str] | None:
    """The field of the spec that is too large for every one of the devices, and the numbers; None if the
    job fits on one of them.
    """
    found = [_shortage(spec, device) for device in devices]
    return None if None in found else next(iter(found), None)


def _shortage(spec: TrainingSpec, device: BaseMemory) -> tuple[str, str] | None:
    row, state = device.row_bytes(spec), device.state_bytes(spec)
    free, pass_bytes = device.free_bytes, min(device.pass_bytes, device.free_bytes)
    if row > pass_bytes:
        return "resolution", (
            f"one row takes at least {in_words(row)} even with gradient checkpointing, and "
            f"{in_words(pass_bytes)} are there beside the base ({device.device}, measured)"
        )
    if device.least_bytes(spec) > free:
        rank = f"rank {spec.adapter.rank} with {spec.optimization.optimizer}"
        return "adapter.rank", (
            f"{rank} takes {in_words(state)}" + (f" and one row {in_words(row)}" if row else "") + ", and "
            f"{in_words(free)} are there beside the base ({device.device}, measured)"
        )
    return None
