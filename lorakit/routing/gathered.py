"""Serving: each row of a batch has a stack of its own, already folded into one adapter.

F forward rows, T tokens, D input and O output features, R rank, N adapters in one group. A request's row may
run as several forward rows (the guidance pair), which follow each other and share its adapter.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from lorakit.adapter import LoraWeights

RANK_STEP = 4
"""Ranks are padded to a multiple of this, so that buffers keep their shape as stacks come and go."""
_LEAST_CLASS = 16


def rank_class(rank: int) -> int:
    """The next of 16, 64, 256 ...: adapters of one class are padded to the largest rank among them, so that
    one of rank 4 is never computed, nor kept, as if it had rank 4096.
    """
    top = _LEAST_CLASS
    while top < rank:
        top *= 4
    return top


@dataclass(frozen=True, slots=True)
class RowAdapter:
    """A folded stack, as one component of the model sees it. Equal keys mean equal weights."""

    key: Hashable
    modules: Mapping[str, LoraWeights]

    @property
    def rank(self) -> int:
        """The largest of its modules."""
        return max((weights.rank for weights in self.modules.values()), default=0)


@dataclass(slots=True)
class _Slots:
    """Buffers of one module for the rows of one kind; slot i belongs to the group's i-th adapter."""

    down_NRD: torch.Tensor
    up_NOR: torch.Tensor
    keys: list[Hashable | None]

    def write(self, slot: int, key: Hashable, weights: LoraWeights) -> None:
        """Put an adapter into a slot; what is left of the rank is zero, which is exact."""
        self.keys[slot] = None  # should there be no memory for what follows
        rank, up_OR = weights.rank, weights.up_OR.flatten(1)
        down_RD, buffer_OR = self.down_NRD[slot], self.up_NOR[slot]
        down_RD[:rank].copy_(weights.down_RD.flatten(1))
        if weights.scale == 1.0:  # as folded stacks have it
            buffer_OR[:, :rank].copy_(up_OR)
        elif buffer_OR.dtype == torch.float32:
            buffer_OR[:, :rank].copy_(up_OR).mul_(weights.scale)
        else:
            buffer_OR[:, :rank].copy_(up_OR.float() * weights.scale)
        if rank < down_RD.shape[0]:
            down_RD[rank:] = 0
            buffer_OR[:, rank:] = 0
        self.keys[slot] = key


@dataclass(frozen=True, slots=True)
class _Group:
    """The forward rows of one module that are adapted by one pair of batched products."""

    rows: slice | torch.Tensor
    slots: _Slots
    count: int


class _Kind(NamedTuple):
    """Rows of one kind share batched products."""

    copies: int
    rank_class: int


@dataclass(slots=True)
class GatheredRouting:
    """Routes forward passes of one component; rows are set anew only when the batch's membership changes."""

    device: torch.device
    dtype: torch.dtype
    _slots: dict[tuple[str, _Kind], _Slots] = field(default_factory=dict)
    _groups: dict[str, list[_Group]] = field(default_factory=dict)
    _forward_rows: int = 0

    def set_rows(self, adapters: Sequence[RowAdapter | None], copies: Sequence[int]) -> None:
        """Row i has ``adapters[i]`` (None: no adapter) and runs as ``copies[i]`` forward rows that follow
        each other.

        Buffers are kept; only slots whose adapter changed are written.
        """
        self._groups = {}
        starts = [sum(copies[:index]) for index in range(len(copies))]
        self._forward_rows = sum(copies)
        paths = dict.fromkeys(path for adapter in adapters if adapter for path in adapter.modules)
        used: set[tuple[str, _Kind]] = set()
        for path in paths:
            members: dict[_Kind, list[tuple[int, RowAdapter]]] = {}
            for start, count, adapter in zip(starts, copies, adapters, strict=True):
                if adapter is not None and path in adapter.modules:
                    kind = _Kind(count, rank_class(adapter.modules[path].rank))
                    members.setdefault(kind, []).append((start, adapter))
            self._groups[path] = [self._group(path, kind, rows) for kind, rows in members.items()]
            used.update((path, kind) for kind in members)
        for unused in self._slots.keys() - used:
            del self._slots[unused]

    def add(self, module_path: str, x_BTD: torch.Tensor, y_BTO: torch.Tensor) -> torch.Tensor:
        """Adds each row's delta to ``y_BTO`` in place; other rows are not touched. Raises ValueError on a row
        count.
        """
        if x_BTD.shape[0] != self._forward_rows:
            raise ValueError(f"rows were set for a batch of {self._forward_rows}, not {x_BTD.shape[0]}")
        for group in self._groups.get(module_path, ()):
            self._add_group(group, x_BTD, y_BTO)
        return y_BTO

    @staticmethod
    def _add_group(group: _Group, x_BTD: torch.Tensor, y_BTO: torch.Tensor) -> None:
        x_GTD = x_BTD[group.rows]
        down_NRD, up_NOR = group.slots.down_NRD[: group.count], group.slots.up_NOR[: group.count]
        x_NMD = x_GTD.reshape(group.count, -1, x_GTD.shape[2])
        hidden_NMR = torch.bmm(x_NMD, down_NRD.transpose(1, 2))
        if isinstance(group.rows, slice):
            y_GTO = y_BTO[group.rows]
            if y_GTO.is_contiguous():
                y_GTO.view(group.count, -1, y_GTO.shape[2]).baddbmm_(hidden_NMR, up_NOR.transpose(1, 2))
            else:
                y_GTO.add_(torch.bmm(hidden_NMR, up_NOR.transpose(1, 2)).view(y_GTO.shape))
        else:
            delta_NMO = torch.bmm(hidden_NMR, up_NOR.transpose(1, 2))
            y_BTO.index_add_(0, group.rows, delta_NMO.view(x_GTD.shape[0], x_GTD.shape[1], -1))

    def add_convolved(
        self, module_path: str, convolution: nn.Conv2d, x_BDHW: torch.Tensor, y_BOHW: torch.Tensor
    ) -> torch.Tensor:
        """Adds each row's delta of a convolution (LoCon) to ``y_BOHW`` in place: down with the layer's own
        kernel, stride and padding, up with 1x1.
        """
        for group in self._groups.get(module_path, ()):
            y_BOHW[group.rows] += _convolved(group, convolution, x_BDHW[group.rows])
        return y_BOHW

    def _group(self, path: str, kind: _Kind, members: Sequence[tuple[int, RowAdapter]]) -> _Group:
        adapters = [adapter for _, adapter in members]
        if len({adapter.key for adapter in adapters}) == 1:
            # The same stack in every row (a request for several pictures) is one product over all their
            # tokens.
            adapters = adapters[:1]
        weights = [adapter.modules[path] for adapter in adapters]
        slots = self._fitting_slots(path, kind, weights)
        for slot, (adapter, adapter_weights) in enumerate(zip(adapters, weights, strict=True)):
            if slots.keys[slot] != adapter.key:
                slots.write(slot, adapter.key, adapter_weights)
        rows = [start + copy for start, _ in members for copy in range(kind.copies)]
        if rows == list(range(rows[0], rows[0] + len(rows))):
            return _Group(slice(rows[0], rows[0] + len(rows)), slots, len(adapters))
        return _Group(torch.tensor(rows, device=self.device), slots, len(adapters))

    def _fitting_slots(self, path: str, kind: _Kind, weights: Sequence[LoraWeights]) -> _Slots:
        """The module's buffers if they fit, else new ones: not too small, and not twice too wide."""
        rank = -(-max(entry.rank for entry in weights) // RANK_STEP) * RANK_STEP
        slots = self._slots.get((path, kind))
        if (
            slots is not None
            and len(slots.keys) >= len(weights)
            and rank <= slots.down_NRD.shape[1] <= 2 * rank
        ):
            return slots
        count = 1 << (len(weights) - 1).bit_length()
        inputs, outputs = weights[0].down_RD[0].numel(), weights[0].up_OR.shape[0]
        slots = _Slots(
            # A slot is written whole before it is read.
            torch.empty(count, rank, inputs, device=self.device, dtype=self.dtype),
            torch.empty(count, outputs, rank, device=self.device, dtype=self.dtype),
            [None] * count,
        )
        self._slots[path, kind] = slots
        return slots


def _convolved(group: _Group, convolution: nn.Conv2d, x_GDHW: torch.Tensor) -> torch.Tensor:
    """Deltas [G, O, H', W']: the adapters side by side as groups of one convolution."""
    adapters = group.count
    copies = len(x_GDHW) // adapters
    down_NRD, up_NOR = group.slots.down_NRD[:adapters], group.slots.up_NOR[:adapters]
    kernel = down_NRD.unflatten(2, (x_GDHW.shape[1], *convolution.kernel_size)).flatten(0, 1)
    hidden_CNHW = functional.conv2d(
        x_GDHW.unflatten(0, (adapters, copies)).transpose(0, 1).flatten(1, 2),
        kernel,
        stride=convolution.stride,
        padding=convolution.padding,
        dilation=convolution.dilation,
        groups=adapters,
    )
    hidden_NCHWR = hidden_CNHW.unflatten(1, (adapters, -1)).permute(1, 0, 3, 4, 2)
    delta_NMO = torch.bmm(hidden_NCHWR.flatten(1, 3), up_NOR.transpose(1, 2))
    return delta_NMO.view(len(x_GDHW), *hidden_CNHW.shape[2:], -1).permute(0, 3, 1, 2)
