"""The keys and values of many texts side by side: one slot for each row, which it joins and leaves at will.

B rows of a forward pass, S slots, H heads, T new tokens, L tokens so far, D features of a head. A row's
tokens lie in its slot from the left, so rows of any length share a pass and none is ever moved to make room:
each sees its own past through the mask. transformers' own caches append to all rows alike, and copy
everything at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

TOKEN_STEP = 64
"""Slots are as long as a multiple of this."""


def slot_tokens(tokens: int) -> int:
    """The length of a slot that takes so many tokens."""
    return -(-tokens // TOKEN_STEP) * TOKEN_STEP


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one layer keeps of a token."""

    heads: int
    key_size: int
    value_size: int
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of one token."""
        return self.heads * (self.key_size + self.value_size) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Pass:
    """Which slots a forward pass works on, and where in them its tokens belong."""

    rows: slice | torch.Tensor
    read: int
    """Tokens from the left that are looked at: as many as the longest row has after the pass."""
    slots_N: torch.Tensor
    places_N: torch.Tensor
    real_BT: torch.Tensor
    """Which of the pass's tokens are no padding; the N of them, in order."""


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, as transformers' models ask for them."""

    is_sliding = False

    def __init__(self, shape: LayerShape, device: torch.device) -> None:
        super().__init__()
        self.shape = shape
        self.device, self.dtype = device, shape.dtype
        self.active: Pass | None = None
        self.is_initialized = True
        self.resize(0, 0)

    def resize(self, slots: int, tokens: int) -> None:
        """New room with the old content in it, as far as both reach."""
        # Zeros: what is masked is multiplied by nothing, and nothing times a NaN of stale memory is a NaN.
        keys = torch.zeros(
            slots, self.shape.heads, tokens, self.shape.key_size, dtype=self.dtype, device=self.device
        )
        values = keys.new_zeros(slots, self.shape.heads, tokens, self.shape.value_size)
        if isinstance(self.keys, torch.Tensor) and isinstance(self.values, torch.Tensor):
            kept, length = min(slots, self.keys.shape[0]), min(tokens, self.keys.shape[2])
            keys[:kept, :, :length] = self.keys[:kept, :, :length]
            values[:kept, :, :length] = self.values[:kept, :, :length]
        self.keys, self.values = keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the pass's tokens [B, H, T, D] into their slots; all that its rows have then, [B, H, L, D]."""
        active = self.active
        assert active is not None
        assert self.keys is not None
        assert self.values is not None
        self.keys[active.slots_N, :, active.places_N] = key_states.transpose(1, 2)[active.real_BT]
        self.values[active.slots_N, :, active.places_N] = value_states.transpose(1, 2)[active.real_BT]
        return self.keys[active.rows, :, : active.read], self.values[active.rows, :, : active.read]

    def copy_slot(self, source: int, target: int) -> None:
        """Make one slot's content that of another."""
        for content in (self.keys, self.values):
            assert content is not None
            content[target] = content[source]

    def swap_slots(self, one: int, other: int) -> None:
        """Exchange what two slots hold."""
        for content in (self.keys, self.values):
            assert content is not None
            content[[one, other]] = content[[other, one]]

    def clear_slot(self, slot: int) -> None:
        """Forget what a slot holds."""
        for content in (self.keys, self.values):
            assert content is not None
            content[slot] = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: the room is there."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what a pass looks at."""
        return (self.active.read if self.active else 0), 0

    def get_seq_length(self) -> int:
        """Tokens before the pass; rows differ, and whoever asks is given positions and mask anyway."""
        return (self.active.read if self.active else 0) - 1

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1


@dataclass(slots=True)
class Slots:
    """All layers' slots. Slots are numbered from 0; whoever uses them keeps the used ones together."""

    shapes: Sequence[LayerShape]
    device: torch.device
    count: int = 0
    tokens: int = 0
    """Length of each slot."""
    cache: Cache = field(init=False)
    """As transformers' models take it."""
    _layers: list[SlotLayer] = field(init=False)

    def __post_init__(self) -> None:
        self._layers = [SlotLayer(shape, self.device) for shape in self.shapes]
        self.cache = Cache(layers=list(self._layers))

    @property
    def token_bytes(self) -> int:
        """Bytes of one token of one row."""
        return sum(shape.nbytes for shape in self.shapes)

    @property
    def nbytes(self) -> int:
        """Bytes that are taken."""
        return self.count * self.tokens * self.token_bytes

    @torch.inference_mode()
    def resize(self, count: int, tokens: int) -> None:
        """Make room for so many slots of so many tokens, or give it back; layer by layer, so that old and new
        never lie side by side whole.
        """
        for layer in self._layers:
            layer.resize(count, tokens)
        self.count, self.tokens = count, tokens

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        """Make one slot's content that of another."""
        for layer in self._layers:
            layer.copy_slot(source, target)

    @torch.inference_mode()
    def swap(self, one: int, other: int) -> None:
        """Exchange what two slots hold."""
        for layer in self._layers:
            layer.swap_slots(one, other)

    @torch.inference_mode()
    def clear(self, slot: int) -> None:
        """Forget what a slot holds: numbers of an earlier text that were not finite would harm the next."""
        for layer in self._layers:
            layer.clear_slot(slot)

    def begin(self, slots: Sequence[int], lengths: Sequence[int], new: Sequence[int]) -> torch.Tensor:
        """Set up a pass: row i has `lengths[i]` tokens in `slots[i]` and gets `new[i]` more, which are padded
        on the right to the most that a row gets. Positions [B, T].
        """
        longest = max(new)
        starts_B = torch.tensor(lengths, device=self.device)
        steps_T = torch.arange(longest, device=self.device)
        positions_BT = starts_B[:, None] + steps_T
        real_BT = steps_T < torch.tensor(new, device=self.device)[:, None]
        slots_BT = torch.tensor(slots, device=self.device)[:, None].expand_as(positions_BT)
        together = list(slots) == list(range(slots[0], slots[0] + len(slots)))
        active = Pass(
            rows=slice(slots[0], slots[0] + len(slots)) if together else slots_BT[:, 0],
            read=max(length + count for length, count in zip(lengths, new, strict=True)),
            slots_N=slots_BT[real_BT],
            places_N=positions_BT[real_BT],
            real_BT=real_BT,
        )
        for layer in self._layers:
            layer.active = active
        # Padding stands where its row's last token does: any position that the model knows will do.
        last_B1 = (starts_B + torch.tensor(new, device=self.device) - 1)[:, None]
        return torch.minimum(positions_BT, last_B1)

    def read(self) -> int:
        """Tokens that the pass looks at."""
        length, _ = self._layers[0].get_mask_sizes(0)
        return length
