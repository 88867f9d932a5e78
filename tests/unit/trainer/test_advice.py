from __future__ import annotations

from typing import Any

import pytest

from services.trainer.advice import advise
from services.trainer.manifest import Picture
from services.trainer.spec import Optimizer
from tests.fixtures.trainer_jobs import pictures, spec

SOUND: dict[str, Any] = {"dropout": 0.1, "epochs": 10, "learning_rate": 2e-4, "batch_size": 4}


def codes(shown: tuple[Picture, ...] | None = None, **changes: Any) -> set[str]:
    made = spec(**{**SOUND, **changes})
    shown = pictures() if shown is None else shown
    return {advice.code for advice in advise(made, shown, base_resolution=512)}


def test_a_sound_spec_gets_no_advice() -> None:
    assert codes() == set()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"learning_rate": 9e-5}, "LEARNING_RATE_LOW"),
        ({"learning_rate": 3.1e-4}, "LEARNING_RATE_HIGH"),
        ({"batch_size": 3}, "BATCH_SIZE_SMALL"),
        ({"batch_size": 128, "epochs": 1}, "BATCH_LARGER_THAN_SET"),
        ({"resolution": 256}, "RESOLUTION_DIFFERS"),
        ({"warmup_steps": 200}, "WARMUP_LONG"),
        ({"train_text_encoder": True, "text_encoder_learning_rate": 3e-4}, "TEXT_ENCODER_LEARNING_RATE_HIGH"),
        ({"trigger_words": ("zork",)}, "CAPTIONS_WITHOUT_TRIGGER_WORD"),
        ({"optimizer": Optimizer.PRODIGY, "learning_rate": 2e-4}, "PRODIGY_LEARNING_RATE"),
        ({"validation_interval_steps": 100, "patience": 3}, "PATIENCE_LONG"),
        ({"ema_decay": 0.999}, "MOVING_AVERAGE_LONG"),
    ],
)
def test_on_the_spec(changes: dict[str, Any], code: str) -> None:
    assert codes(**changes) == {code}


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": Optimizer.PRODIGY, "learning_rate": None},
        {"validation_interval_steps": 20, "patience": 3, "ema_decay": 0.98},
    ],
)
def test_sound_optimizers_and_evaluations_get_none(changes: dict[str, Any]) -> None:
    assert codes(**changes) == set()


@pytest.mark.parametrize("rate", [1e-4, 3e-4, 0.0003])
def test_the_bounds_of_the_learning_rate_are_inside(rate: float) -> None:
    assert codes(learning_rate=rate) == set()


def test_small_pictures() -> None:
    assert codes(pictures(width=511)) == {"PICTURES_TOO_SMALL"}
    assert codes(pictures(width=512, height=512)) == set()


def test_few_pictures_want_dropout() -> None:
    assert codes(pictures(99), dropout=0.0) == {"SMALL_SET_WITHOUT_DROPOUT"}
    assert codes(pictures(100), dropout=0.0) == set()


def test_many_epochs_count_on_small_sets_only() -> None:
    assert codes(pictures(99), epochs=16) == {"MANY_EPOCHS_ON_SMALL_SET"}
    assert codes(pictures(99), epochs=15) == set()
    assert codes(pictures(100), epochs=16) == set()
    assert codes(pictures(96), epochs=None, max_steps=400) == {"MANY_EPOCHS_ON_SMALL_SET"}


def test_captions() -> None:
    assert codes(pictures(caption="hrx")) == {"CAPTIONS_ALL_THE_SAME"}
    assert codes((*pictures(119), *pictures(1, caption=" "))) >= {"EMPTY_CAPTIONS"}


def test_repeated_pictures() -> None:
    assert codes((*pictures(119), pictures(1)[0])) == {"REPEATED_PICTURES"}


def test_advice_names_field_and_numbers() -> None:
    found = advise(spec(**{**SOUND, "learning_rate": 1e-3}), pictures(), base_resolution=512)
    assert [(advice.field, "0.001" in advice.message) for advice in found] == [
        ("optimization.learning_rate", True)
    ]
