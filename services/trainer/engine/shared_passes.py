"""All passes of a step: rows of one shape together, split into as few passes as the device's memory allows.

How rows are split changes no job's result: gradients add up, and whatever is left to chance was drawn before.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Final

import torch

from lorakit.device_memory import is_out_of_memory, release_unused
from services.trainer.amounts import in_words
from services.trainer.engine.fault import LOSS_NOT_FINITE, OUT_OF_MEMORY, EngineFault
from services.trainer.engine.memory import Kind, MemoryBook, PassMemory, Setting
from services.trainer.engine.port import Family, Member
from services.trainer.engine.shared_pass import run_pass
from services.trainer.engine.turn import Turn

Pair = tuple[Turn, Member[Any, Any]]
_GRADIENT_BYTES: Final = 4
_WORDS: Final = 300
"""Letters of an error that go into a job's."""
_ADVICE: Final = "a smaller resolution, rank or set of targets needs less"


class SharedPasses:
    """Makes a pack's passes and remembers how many rows fit."""

    def __init__(
        self, family: Family[Any, Any], autocast: torch.dtype | None, memory: MemoryBook | None
    ) -> None:
        """Without `memory`, passes are split only after one has not fitted."""
        self._family = family
        self._autocast = autocast
        self._memory = memory
        self._recomputing = False
        self._can_recompute = True
        self._short = False
        """Whether memory is too short for passes without gradient checkpointing."""
        self._words = ""
        """What was said when a pass did not fit."""
        self._most: dict[Hashable, int] = {}
        """Rows that a pass over a shape may have since one did not fit."""
        self._failed: set[Kind] = set()
        """Kinds of passes that could not be measured."""

    def run(self, turns: Sequence[Turn]) -> None:
        """Adds the gradients and losses of all jobs that are not ejected."""
        self._recompute(self._short or any(turn.job.spec.gradient_checkpointing for turn in turns))
        shapes: dict[Hashable, list[Pair]] = {}
        for turn in turns:
            for member in turn.members if turn.job.fault is None else ():
                shapes.setdefault(member.rows.shape, []).append((turn, member))
        for pairs in shapes.values():
            self._run_shape(pairs)

    def forget(self) -> None:
        """A job has left: what did not fit before may fit now."""
        self._most.clear()
        self._failed.clear()
        self._short = False

    def close(self) -> None:
        """Leaves the base as it was."""
        self._recompute(False)

    def _run_shape(self, pairs: Sequence[Pair]) -> None:
        waiting = [pair for pair in pairs if pair[0].job.fault is None]
        while waiting:
            most = self._most_rows(waiting)
            if most > 0:
                now, later = _first_rows(waiting, most)
                if self._fits(now):
                    waiting = later
                else:
                    self._make_room(now)
            waiting = [pair for pair in waiting if pair[0].job.fault is None]

    def _fits(self, pairs: Sequence[Pair]) -> bool:
        """Makes the pass; False, with nothing done, if memory was too short for it.

        If it raises anything else, each job goes alone, to find whose fault it is.
        """
        turns = list(dict.fromkeys(turn for turn, _ in pairs))
        undo = [turn.kept() for turn in turns]
        short = self._attempt(pairs, turns if len(turns) == 1 else [])
        if short is None:
            for restore in undo:
                restore()
            release_unused(self._family.device)
            short = any(self._attempt([pair for pair in pairs if pair[0] is turn], [turn]) for turn in turns)
        if short:
            for restore in undo:
                restore()
            release_unused(self._family.device)
        return not short

    def _attempt(self, pairs: Sequence[Pair], culprits: Sequence[Turn]) -> bool | None:
        """Whether memory was too short; None if the pass raised something else and nobody is to blame."""
        try:
            self._count(pairs)
        except Exception as error:
            if is_out_of_memory(error):
                self._words = str(error)[:_WORDS]
                return True
            for turn in culprits:
                turn.eject(error)
            return False if culprits else None
        return False

    def _count(self, pairs: Sequence[Pair]) -> None:
        losses = run_pass(self._family, [member for _, member in pairs], autocast=self._autocast)
        for (turn, _), loss in zip(pairs, losses, strict=True):
            turn.loss += loss
            if not math.isfinite(loss):
                text = f"the loss was not finite in step {turn.job.step + 1}; try a lower learning rate"
                turn.job.fault = EngineFault(LOSS_NOT_FINITE, text)

    def _most_rows(self, pairs: Sequence[Pair]) -> int:
        """Rows that the next pass may have; 0 if something had to give first: try again."""
        most = self._most.get(self._kind(pairs), sum(len(member.rows) for _, member in pairs))
        if self._memory is None:
            return most
        turn, member = max(pairs, key=lambda pair: pair[0].job.size)
        gradients = sum(turn.job.size for turn in {turn for turn, _ in pairs}) * _GRADIENT_BYTES
        budget = self._memory.budget(self._family.device) - gradients
        kind = Kind(self._setting, member.rows.shape, turn.job.size.bit_length())
        measured = self._memory.bound(kind, most, budget) or self._survey(self._memory, kind, turn, member)
        if measured is None:
            return most
        fitting = measured.rows_within(budget)
        if fitting == 0:
            self._give_up(pairs, turn, f"{in_words(measured.of(1))}, and {in_words(max(0, budget))} are free")
        return min(most, fitting)

    def _survey(
        self, memory: MemoryBook, kind: Kind, turn: Turn, member: Member[Any, Any]
    ) -> PassMemory | None:
        """What passes of this kind take; once on each base, too, what they take with gradient checkpointing:
        the least that a job needs.
        """
        measured = self._measure(memory, kind, turn, member)
        other = replace(kind.setting, recomputing=True)
        if not self._recomputing and all(known.setting != other for known in memory.measured):
            self._recompute(True)
            if self._recomputing:
                self._measure(memory, replace(kind, setting=other), turn, member)
                self._recompute(False)
        return measured

    def _measure(
        self, memory: MemoryBook, kind: Kind, turn: Turn, member: Member[Any, Any]
    ) -> PassMemory | None:
        """What passes of this kind take, by trials with one of the rows; None if even these fail."""
        if kind in self._failed:
            return None
        # Twice the same row in two parts: as many jobs with a row each take the most memory.
        row = member.part(0, 1)

        def trial(rows: int) -> None:
            restore = turn.kept()
            turn.job.clear_gradients()
            try:
                run_pass(self._family, [row] * rows, autocast=self._autocast)
            finally:
                restore()

        try:
            return memory.known(kind, self._family.device, trial)
        except Exception:
            # Too large even for that, or broken: the pass itself will show which, and whose fault it is.
            self._failed.add(kind)
        release_unused(self._family.device)
        return None

    def _make_room(self, pairs: Sequence[Pair]) -> None:
        """After a pass over these rows did not fit."""
        rows = sum(len(member.rows) for _, member in pairs)
        if rows > 1:
            most = rows // 2
            self._most[self._kind(pairs)] = most
            _tell(pairs, f"out of memory with {rows} rows in a pass: {most} at a time from here on")
            return
        self._give_up(pairs, pairs[0][0], f"more than is free ({self._words})")

    def _give_up(self, pairs: Sequence[Pair], turn: Turn, needs: str) -> None:
        """One row does not fit: gradient checkpointing for all, or, where that is on, one job has to go."""
        shape = pairs[0][1].rows.shape
        if self._can_recompute and not self._recomputing:
            self._short = True
            self._recompute(True)
            if not self._recomputing:
                return  # it cannot: the next try ends with the fault
            _tell(pairs, f"gradient checkpointing is on: a row of the shape {shape} takes {needs}")
            return
        turn.job.fault = EngineFault(
            OUT_OF_MEMORY,
            f"one row of the shape {shape} takes {needs}, {self._measures()}; {_ADVICE}",
        )

    @property
    def _setting(self) -> Setting:
        return Setting(self._family.sha256, self._autocast, self._recomputing)

    def _kind(self, pairs: Sequence[Pair]) -> Hashable:
        return pairs[0][1].rows.shape, self._recomputing

    def _measures(self) -> str:
        if self._recomputing:
            return "even with gradient checkpointing"
        return "and the base knows no gradient checkpointing"

    def _recompute(self, on: bool) -> None:
        """Switches gradient checkpointing, where the base can do it."""
        if on is self._recomputing or not self._can_recompute:
            return
        try:
            self._family.recompute(on)
        except ValueError:
            self._can_recompute = False
        else:
            self._recomputing = on


def _first_rows(pairs: Sequence[Pair], most: int) -> tuple[list[Pair], list[Pair]]:
    """The rows of the next pass and those after it: all passes over them of about one size."""
    rows = sum(len(member.rows) for _, member in pairs)
    left = -(-rows // -(-rows // most))
    now: list[Pair] = []
    later: list[Pair] = []
    for turn, member in pairs:
        taken = min(left, len(member.rows))
        left -= taken
        if taken == len(member.rows):
            now.append((turn, member))
            continue
        if taken:
            now.append((turn, member.part(0, taken)))
        later.append((turn, member.part(taken, len(member.rows))))
    return now, later


def _tell(pairs: Sequence[Pair], text: str) -> None:
    for turn in {turn for turn, _ in pairs}:
        turn.notices.append(text)
