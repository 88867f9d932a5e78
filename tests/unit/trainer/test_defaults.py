from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.trainer.defaults import complete, contradictions
from services.trainer.spec import (
    Optimizer,
    Schedule,
    SpecDraft,
    Target,
    TrainingSpec,
    ValidationSpec,
    steps_per_epoch,
)
from tests.fixtures.trainer_jobs import BASE, PARENT, REVISION, draft


def completed(made: SpecDraft, *, parent: Any = None) -> TrainingSpec:
    return complete(made, base=BASE, revision=REVISION, parent=parent, drawn_seed=5)


def test_everything_that_is_left_out_gets_a_value() -> None:
    spec = completed(draft())
    assert spec.trigger_words == ("hrx",)
    assert (spec.adapter.rank, spec.adapter.alpha) == (8, 8.0)
    assert spec.adapter.targets == {Target.ATTENTION, Target.FEED_FORWARD}
    assert spec.optimization.learning_rate == 1e-4
    assert spec.optimization.text_encoder_learning_rate == 5e-5
    assert spec.optimization.schedule is Schedule.COSINE
    assert (spec.optimization.epochs, spec.optimization.max_steps) == (10, None)
    assert spec.loss.min_snr_gamma == 5.0
    assert (spec.resolution, spec.seed, spec.checkpoint_interval_steps) == (512, 5, 100)


def test_zeros_that_were_asked_for_stay() -> None:
    spec = completed(draft(seed=0, min_snr_gamma=0.0, weight_decay=0.0, max_gradient_norm=0.0))
    assert (spec.seed, spec.loss.min_snr_gamma) == (0, 0.0)
    assert (spec.optimization.weight_decay, spec.optimization.max_gradient_norm) == (0.0, 0.0)


def test_prodigy_has_one_rate_for_all() -> None:
    spec = completed(draft(optimizer=Optimizer.PRODIGY)).optimization
    assert (spec.optimizer, spec.learning_rate, spec.text_encoder_learning_rate) == (
        Optimizer.PRODIGY,
        1.0,
        1.0,
    )
    halved = draft(optimizer=Optimizer.PRODIGY, learning_rate=0.5, text_encoder_learning_rate=0.5)
    assert contradictions(halved, base=BASE, parent=None, prefix="spec") == []
    other = replace(halved, text_encoder_learning_rate=0.25)
    [found] = contradictions(other, base=BASE, parent=None, prefix="spec")
    assert found.field == "spec.optimization.text_encoder_learning_rate"
    assert contradictions(replace(other, optimizer=None), base=BASE, parent=None, prefix="spec") == []


def test_evaluations_are_off_unless_something_asks_for_them() -> None:
    assert completed(draft()).validation == ValidationSpec()
    assert completed(draft(validation_max_items=5)).validation == ValidationSpec()
    every = ValidationSpec(interval_steps=100, keep_best=True, max_items=64)
    assert completed(draft(keep_best=True)).validation == every
    with_checkpoints = completed(draft(patience=3, checkpoint_interval_steps=20, validation_max_items=8))
    assert with_checkpoints.validation == ValidationSpec(interval_steps=20, patience=3, max_items=8)
    assert completed(draft(validation_interval_steps=7)).validation.interval_steps == 7


def test_alpha_follows_the_rank() -> None:
    assert completed(draft(rank=32)).adapter.alpha == 32.0


def test_steps_come_from_epochs_or_are_given() -> None:
    assert completed(draft(batch_size=7, epochs=3)).total_steps(20) == 9
    assert completed(draft(max_steps=11)).total_steps(20) == 11
    assert completed(draft(max_steps=11)).optimization.epochs is None
    assert (steps_per_epoch(8, 1), steps_per_epoch(4, 5, 4, 1)) == (1, 4)


def test_a_parent_brings_rank_alpha_targets_and_text_encoder() -> None:
    spec = completed(draft(parent_version=PARENT.name), parent=PARENT)
    assert (spec.adapter.rank, spec.adapter.alpha) == (16, 8.0)
    assert spec.adapter.targets == {Target.ATTENTION}
    assert spec.adapter.train_text_encoder


def test_a_parent_of_mixed_alphas_leaves_alpha_to_the_rank() -> None:
    assert completed(draft(), parent=replace(PARENT, alpha=None)).adapter.alpha == 16.0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rank": 8}, "spec.adapter.rank"),
        ({"alpha": 16.0}, "spec.adapter.alpha"),
        ({"targets": frozenset({Target.CONV_1X1})}, "spec.adapter.targets"),
    ],
)
def test_what_contradicts_the_parent_is_named(changes: dict[str, Any], field: str) -> None:
    found = contradictions(draft(**changes), base=BASE, parent=PARENT, prefix="spec")
    assert [violation.field for violation in found] == [field]


def test_what_agrees_with_the_parent_is_fine() -> None:
    agreeing = draft(rank=16, alpha=8.0, targets=frozenset({Target.ATTENTION, Target.CONV_1X1}))
    assert contradictions(agreeing, base=BASE, parent=PARENT, prefix="spec") == []


def test_a_parent_of_another_base_is_refused() -> None:
    other = replace(BASE, sha256="f" * 64, family="flux")
    found = contradictions(draft(), base=other, parent=PARENT, prefix="spec")
    fields = [violation.field for violation in found]
    assert fields == ["spec.base_model", "spec.parent_version", "spec.parent_version"]


@pytest.mark.parametrize("resolution", [20, 8])
def test_a_resolution_that_no_base_can_take(resolution: int) -> None:
    found = contradictions(draft(resolution=resolution), base=BASE, parent=None, prefix="spec")
    assert [violation.field for violation in found] == ["spec.resolution"]
