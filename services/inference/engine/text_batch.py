"""The batch of one language model: rows join, pass their prompts in parts, decode together, and leave.

B rows of a pass, T tokens. Row i is in slot i; rows that decode come first, so that their slots lie together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from lorakit.routing import GatheredRouting, routed
from services.inference.engine.text_bases import TextBase
from services.inference.engine.text_preparation import PreparedText
from services.inference.engine.text_rows import TextRow
from services.inference.engine.text_slots import Slots, slot_tokens

PROMPT_TOKENS_CPU = 128
PROMPT_TOKENS = 1024
"""Tokens of prompts, padding counted, that pass the model between two steps: the others wait that long."""
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows that a pass has brought so far that they can choose their next token."""

    rows: Sequence[TextRow]
    scores_BV: torch.Tensor
    prompt_tokens: int = 0
    """Of prompts, that passed the model."""


@dataclass(slots=True, eq=False)
class _Routed:
    """The adapters of the rows of one kind of pass."""

    routing: GatheredRouting
    rows: list[TextRow] = field(default_factory=list)

    @contextmanager
    def over(self, base: TextBase, rows: Sequence[TextRow]) -> Iterator[None]:
        """Routes these rows; adapters are gathered anew only when the membership changes."""
        if all(row.prepared.adapter is None for row in rows):
            yield
            return
        if self.rows != list(rows):
            # Forgotten first: should it fail, nothing half-written is taken for whole.
            self.rows = []
            self.routing.set_rows([row.prepared.adapter for row in rows], [1] * len(rows))
            self.rows = list(rows)
        with routed(base.language.model, self.routing):
            yield


class TextBatch:
    """Rows of one base model."""

    def __init__(self, base: TextBase) -> None:
        self.base = base
        self.rows: list[TextRow] = []
        self._decoding = 0
        self._slots: Slots = base.new_slots()
        dtype = base.language.model.dtype
        self._decode_routed = _Routed(GatheredRouting(base.device, dtype))
        self._prompt_routed = _Routed(GatheredRouting(base.device, dtype))
        self._shortest_first = False

    @property
    def room(self) -> int:
        """Bytes that keys and values take at most, as the rows are."""
        return self._room(len(self.rows), self._most_tokens())

    def room_with(self, prepared: PreparedText) -> int:
        """The same if one more text joins."""
        return self._room(len(self.rows) + 1, max(self._most_tokens(), prepared.most_tokens))

    @property
    def used_bytes(self) -> int:
        """Bytes that keys and values take now."""
        return self._slots.nbytes

    def trim(self) -> None:
        """Give back what rows that left had needed."""
        count = len(self.rows)
        tokens = min(self._slots.tokens, slot_tokens(self._most_tokens()))
        if (self._slots.count, self._slots.tokens) != (count, tokens):
            self._slots.resize(count, tokens)

    def join(self, row: TextRow) -> None:
        """Take a row in."""
        slot = len(self.rows)
        self._reserve(slot + 1, 0)
        self._slots.clear(slot)
        self.rows.append(row)

    def leave(self, row: TextRow) -> None:
        """Let a row go; others take its place, so that the slots in use stay together."""
        hole = self.rows.index(row)
        if hole < self._decoding:
            self._decoding -= 1
            self._move(self._decoding, hole)
            hole = self._decoding
        self._move(len(self.rows) - 1, hole)
        self.rows.pop()

    @property
    def decoding_rows(self) -> list[TextRow]:
        """The rows whose prompts have passed the model."""
        return self.rows[: self._decoding]

    @torch.inference_mode()
    def decode(self, rows: Sequence[TextRow]) -> Scored:
        """One token further in all rows that decode."""
        lengths = [row.length for row in rows]
        self._reserve(0, max(lengths) + 1)
        ids_BT = torch.tensor([[row.token] for row in rows], device=self.base.device)
        positions_BT = self._slots.begin(range(len(rows)), lengths, [1] * len(rows))
        with self._decode_routed.over(self.base, rows):
            scores_BV = self.base.scores(ids_BT, positions_BT, [0] * len(rows), self._slots)
        for row in rows:
            row.length += 1
        return Scored(rows, scores_BV)

    def prompt_rows(self) -> list[TextRow]:
        """The rows whose prompts pass the model next: the oldest, and then in turn the shortest, so that
        neither long prompts hold up short ones, nor the other way round.
        """
        waiting = self.rows[self._decoding :]
        if not waiting:
            return []
        self._shortest_first = not self._shortest_first
        first = self.rows[self._decoding : self._decoding + 1]
        order = sorted(waiting, key=lambda row: len(row.waiting_prompt))
        if not self._shortest_first:
            order = first + [row for row in order if row is not first[0]]
        chosen: list[TextRow] = []
        longest = 0
        for row in order:
            longest = max(longest, min(len(row.waiting_prompt), self._prompt_tokens))
            if chosen and longest * (len(chosen) + 1) > self._prompt_tokens:
                break
            chosen.append(row)
        return chosen

    @torch.inference_mode()
    def pass_prompts(self, rows: Sequence[TextRow]) -> Scored:
        """Bring the prompts of these rows further; those that are through begin to decode."""
        parts = [list(row.waiting_prompt[: self._prompt_tokens]) for row in rows]
        new, longest = [len(part) for part in parts], max(map(len, parts))
        lengths = [row.length for row in rows]
        self._reserve(0, max(length + count for length, count in zip(lengths, new, strict=True)))
        ids_BT = torch.tensor([part + [0] * (longest - len(part)) for part in parts], device=self.base.device)
        positions_BT = self._slots.begin([self.rows.index(row) for row in rows], lengths, new)
        with self._prompt_routed.over(self.base, rows):
            scores_BV = self.base.scores(ids_BT, positions_BT, [count - 1 for count in new], self._slots)
        for row, count in zip(rows, new, strict=True):
            row.length += count
        through = [index for index, row in enumerate(rows) if not row.waiting_prompt]
        for index in through:
            self._begin_decoding(rows[index])
        return Scored([rows[index] for index in through], scores_BV[through], sum(new))

    @property
    def _prompt_tokens(self) -> int:
        return PROMPT_TOKENS_CPU if self.base.device.type == "cpu" else PROMPT_TOKENS

    def _begin_decoding(self, row: TextRow) -> None:
        slot, place = self.rows.index(row), self._decoding
        if slot != place:
            self._slots.swap(slot, place)
            self.rows[slot], self.rows[place] = self.rows[place], self.rows[slot]
        self._decoding += 1

    def _move(self, source: int, target: int) -> None:
        if source != target:
            self._slots.copy(source, target)
            self.rows[target] = self.rows[source]

    def _reserve(self, count: int, tokens: int) -> None:
        """Have at least so many slots, so long; they grow by more than that, but never past what their rows
        can need.
        """
        count = max(count, self._slots.count)
        if tokens > self._slots.tokens:
            tokens = min(slot_tokens(int(tokens * _GROWTH)), slot_tokens(self._most_tokens()))
        tokens = max(tokens, self._slots.tokens)
        if (count, tokens) != (self._slots.count, self._slots.tokens):
            self._slots.resize(count, tokens)

    def _most_tokens(self) -> int:
        return max((row.prepared.most_tokens for row in self.rows), default=0)

    def _room(self, count: int, tokens: int) -> int:
        slots = self._slots
        return max(count, slots.count) * max(slot_tokens(tokens), slots.tokens) * self.base.token_bytes
