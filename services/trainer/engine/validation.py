"""How well a job does on items that it does not learn from, and when that ends it.

Every evaluation has the same noise and timesteps, drawn by generators of its own: the losses can be compared,
and training goes on as if there had been none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from lorakit.device_memory import is_out_of_memory, release_unused
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.fault import LOSS_NOT_FINITE, EngineFault
from services.trainer.engine.generators import Generators
from services.trainer.engine.items import TrainingItem
from services.trainer.engine.port import Data, Family, Member
from services.trainer.engine.shared_pass import computing
from services.trainer.engine.spec import JobSpec, ValidationReport

_SEED: Final = 20_240_229
_ROWS_AT_ONCE: Final = 8
_NO_DROPOUT: Final = 0


class Validation:
    """The evaluations of one job: what they found, and the weights of the best if they are to be kept."""

    def __init__(self, family: Family[Any, Any], spec: JobSpec, data: Data) -> None:
        self._family = family
        self._spec = spec
        self.data = data
        self.last: ValidationReport | None = None
        """The newest evaluation."""
        self.best: TrainableAdapter | None = None
        """The weights of the best one; None unless they are kept."""

    @property
    def patience_is_over(self) -> bool:
        """Whether the job is to end before its last step."""
        return 0 < self._spec.patience <= (self.last.stale if self.last else 0)

    def due(self, step: int) -> bool:
        """Whether step `step`, from 1, is followed by an evaluation; the last one always is."""
        return step % self._spec.validation_interval == 0 or step >= self._spec.total_steps

    def evaluate(
        self, parameters: TrainableAdapter, step: int, autocast: torch.dtype | None
    ) -> ValidationReport:
        """Evaluates the weights after step `step`. Raises EngineFault if their loss is not finite."""
        loss = self._loss(parameters, autocast)
        if not math.isfinite(loss):
            text = f"the validation loss was not finite after step {step}; try a lower learning rate"
            raise EngineFault(LOSS_NOT_FINITE, text)
        last = self.last
        if last is not None and loss >= last.best_loss:
            self.last = replace(last, loss=loss, stale=last.stale + 1)
            return self.last
        self.last = ValidationReport(loss=loss, best_loss=loss, best_step=step, stale=0)
        if self._spec.keep_best:
            self.best = parameters.frozen_copy()
        return self.last

    def numbers(self) -> dict[str, float]:
        """What a checkpoint needs beside the best weights."""
        last = self.last
        if last is None:
            return {}
        return {
            "loss": last.loss,
            "best_loss": last.best_loss,
            "best_step": last.best_step,
            "stale": last.stale,
        }

    def restore(
        self, numbers: Mapping[str, float], best: Mapping[str, Tensor], live: TrainableAdapter
    ) -> None:
        """Takes `numbers` and the best weights back; `live` gives the shape of those."""
        if not numbers:
            return
        self.last = ValidationReport(
            loss=float(numbers["loss"]),
            best_loss=float(numbers["best_loss"]),
            best_step=int(numbers["best_step"]),
            stale=int(numbers["stale"]),
        )
        if self._spec.keep_best:
            self.best = live.frozen_copy()
            self.best.load_state_dict(best)

    @torch.no_grad()
    def _loss(self, parameters: TrainableAdapter, autocast: torch.dtype | None) -> float:
        """The mean over the items, each drawn as often as its family wants."""
        spec = _without_chance(self._spec)
        generators, count = Generators.seeded(_SEED), len(self.data)
        total = 0.0
        for _ in range(self._family.validation_draws):
            for start in range(0, count, _ROWS_AT_ONCE):
                indices = range(start, min(start + _ROWS_AT_ONCE, count))
                for rows in self._family.draw(spec, self.data, indices, generators):
                    member = Member(spec, self.data, parameters, _NO_DROPOUT, rows)
                    total += len(indices) * self._part(member, autocast)
        return total / (self._family.validation_draws * count)

    def _part(self, member: Member[Any, Any], autocast: torch.dtype | None) -> float:
        """The rows' part of a loss; in halves if the device's memory is too short for all."""
        rows = len(member.rows)
        try:
            with ExitStack() as contexts:
                contexts.enter_context(computing(self._family.device, autocast))
                losses_N = self._family.losses([member], contexts)
                return float((losses_N * member.rows.shares_N.to(losses_N)).sum())
        except Exception as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
        release_unused(self._family.device)
        return sum(self._part(member.part(*half), autocast) for half in ((0, rows // 2), (rows // 2, rows)))


def cache_held_out(family: Family[Any, Any], spec: JobSpec, items: Sequence[TrainingItem]) -> Data | None:
    """What a job is evaluated on, read and encoded; None if it is not. Raises EngineFault as `cache` does."""
    if spec.validation_interval == 0 or not items:
        return None
    try:
        data: Data = family.cache(_without_chance(spec), items, None)
    except EngineFault as fault:
        raise EngineFault(fault.reason, f"of the validation split: {fault.message}") from fault
    return data


def _without_chance(spec: JobSpec) -> JobSpec:
    """The spec with which held-out items are cached and drawn: each as it is."""
    return replace(
        spec,
        dropout=0.0,
        caption_dropout=0.0,
        noise_offset=0.0,
        horizontal_flip=False,
        shuffle_tags=False,
    )
