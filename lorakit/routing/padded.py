"""Serving with compiled models: buffers whose shapes do not follow every change of the batch.

F forward rows, C forward rows for which there are places, T tokens, D input and O output features, R rank. A
compiled graph holds for one number of rows, one rank and one set of adapted modules, so the first two are
padded to few sizes. Each forward row has a place of its own; what is left of a place is zero, which is exact.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from lorakit.adapter import LoraWeights
from lorakit.routing.gathered import RowAdapter

LEAST_RANK = 4
_HALF_WRITTEN = object()


def padded_count(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 ..."""
    power = 1 << max(0, count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


@dataclass(slots=True)
class _Places:
    """One module's buffers for C forward rows, and what the pass of F of them sees."""

    down_CRD: torch.Tensor
    up_COR: torch.Tensor
    down_FRD: torch.Tensor
    up_FOR: torch.Tensor

    def show(self, forward_rows: int) -> None:
        self.down_FRD, self.up_FOR = self.down_CRD[:forward_rows], self.up_COR[:forward_rows]

    def clear(self, row: int) -> None:
        self.down_CRD[row] = 0
        self.up_COR[row] = 0

    def write(self, row: int, weights: LoraWeights) -> None:
        rank = weights.rank
        self.down_CRD[row, :rank] = weights.down_RD.flatten(1)
        self.up_COR[row, :, :rank] = weights.up_OR.flatten(1).float().mul(weights.scale)


@dataclass(slots=True)
class PaddedRouting:
    """Routes forward passes of one component, whose rows `padded_count` has padded. Graphs do not hold on to
    it: one that was compiled with another routing serves this one too.
    """

    device: torch.device
    dtype: torch.dtype
    _rank: int = 0
    _places: dict[str, _Places] = field(default_factory=dict)
    _keys: list[Hashable | None] = field(default_factory=list)

    def set_rows(self, adapters: Sequence[RowAdapter | None], copies: Sequence[int]) -> None:
        """Row i has ``adapters[i]`` (None: no adapter) and runs as ``copies[i]`` forward rows that follow
        each other; forward rows that are added by padding have none. Only rows whose adapter changed are
        written.
        """
        wanted = [adapter for adapter, count in zip(adapters, copies, strict=True) for _ in range(count)]
        wanted += [None] * (padded_count(len(wanted)) - len(wanted))
        self._fit([adapter for adapter in wanted if adapter is not None], len(wanted))
        for row, adapter in enumerate(wanted):
            key = adapter.key if adapter else None
            if self._keys[row] != key:
                self._keys[row] = _HALF_WRITTEN
                self._write(row, adapter)
                self._keys[row] = key
        for places in self._places.values():
            places.show(len(wanted))

    def add(self, module_path: str, x_BTD: torch.Tensor, y_BTO: torch.Tensor) -> torch.Tensor:
        """``y_BTO`` with each row's delta."""
        places = self._places.get(module_path)
        if places is None:
            return y_BTO
        hidden_BTR = torch.bmm(x_BTD, places.down_FRD.transpose(1, 2))
        return torch.baddbmm(y_BTO, hidden_BTR, places.up_FOR.transpose(1, 2))

    def add_convolved(
        self, module_path: str, convolution: nn.Conv2d, x_BDHW: torch.Tensor, y_BOHW: torch.Tensor
    ) -> torch.Tensor:
        """The same for a convolution: all rows' down kernels are the groups of one convolution."""
        places = self._places.get(module_path)
        if places is None:
            return y_BOHW
        rows = x_BDHW.shape[0]
        kernel = places.down_FRD.unflatten(2, (x_BDHW.shape[1], *convolution.kernel_size)).flatten(0, 1)
        hidden_1NHW = functional.conv2d(
            x_BDHW.flatten(0, 1)[None],
            kernel,
            stride=convolution.stride,
            padding=convolution.padding,
            dilation=convolution.dilation,
            groups=rows,
        )
        hidden_BRM = hidden_1NHW[0].unflatten(0, (rows, -1)).flatten(2)
        return y_BOHW + torch.bmm(places.up_FOR, hidden_BRM).view(y_BOHW.shape)

    def _fit(self, adapters: Sequence[RowAdapter], forward_rows: int) -> None:
        """Buffers for these adapters: kept if they fit, and made anew, empty, if they do not."""
        shapes = {
            path: (weights.down_RD[0].numel(), weights.up_OR.shape[0])
            for adapter in adapters
            for path, weights in adapter.modules.items()
        }
        rank = padded_count(max((LEAST_RANK, *(adapter.rank for adapter in adapters))))
        fits = shapes.keys() == self._places.keys() and rank <= self._rank <= 2 * rank
        if fits and forward_rows <= len(self._keys):
            return
        # Gone before there are others, and not known as there when there was no memory for them.
        self._places, self._keys, self._rank = {}, [], 0
        self._places = {
            path: self._empty(forward_rows, rank, inputs, outputs)
            for path, (inputs, outputs) in shapes.items()
        }
        self._keys, self._rank = [None] * forward_rows, rank

    def _write(self, row: int, adapter: RowAdapter | None) -> None:
        for path, places in self._places.items():
            places.clear(row)
            if adapter is not None and path in adapter.modules:
                places.write(row, adapter.modules[path])

    def _empty(self, forward_rows: int, rank: int, inputs: int, outputs: int) -> _Places:
        down_CRD = torch.zeros(forward_rows, rank, inputs, device=self.device, dtype=self.dtype)
        up_COR = torch.zeros(forward_rows, outputs, rank, device=self.device, dtype=self.dtype)
        return _Places(down_CRD, up_COR, down_CRD, up_COR)
