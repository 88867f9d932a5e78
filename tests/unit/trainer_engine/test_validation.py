"""Moving averages, evaluations on held-out items, early ends, and the best weights kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorakit.families.causal_lm import LanguageModel
from services.trainer.engine import (
    EngineFault,
    JobSpec,
    Pack,
    SampleSettings,
    StepReport,
    TrainingImage,
)
from services.trainer.engine.averaging import MovingAverage
from services.trainer.engine.progress import ProgressMeter
from services.trainer.engine.validation import Validation
from tests.fixtures.training import images, spec
from tests.fixtures.training_texts import job, text

NewPack = Callable[..., Pack]

ATTENTION = frozenset({"attention"})
HELD_OUT = images(3, seed=8)


def small(**changes: Any) -> JobSpec:
    return spec(**{"targets": ATTENTION, "total_steps": 6, **changes})


def weights(pack: Pack, job_id: str = "a") -> torch.Tensor:
    return torch.cat([t.flatten() for _, _, w in pack.adapter(job_id).each() for t in (w.down_RD, w.up_OR)])


def train(pack: Pack) -> list[Any]:
    reports = []
    while done := pack.step():
        reports += done
    return reports


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Losses that the next evaluations find."""
    losses: list[float] = []
    monkeypatch.setattr(Validation, "_loss", lambda *_: losses.pop(0))
    return losses


def test_the_result_is_the_moving_average_of_the_weights(new_pack: NewPack) -> None:
    decay = 0.3
    pack = new_pack()
    pack.add("live", small(), images())
    average = weights(pack, "live")
    for step in range(1, 5):
        pack.step()
        kept = min(decay, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * weights(pack, "live")
    pack = new_pack()
    pack.add("a", small(ema_decay=decay), images())
    for _ in range(4):
        pack.step()
    assert torch.allclose(weights(pack), average, atol=1e-7)


def test_samples_and_evaluations_are_of_the_average(
    new_pack: NewPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MovingAverage, "update", lambda self, step: None)
    losses, pictures = [], []
    settings = SampleSettings(seed=3, steps=2, guidance_scale=1.0)
    for decay in (0.0, 0.999999):
        pack = new_pack()
        own = small(ema_decay=decay, validation_interval=6, learning_rate=3e-3)
        pack.add("a", own, images(), held_out=HELD_OUT)
        losses.append(train(pack)[-1].validation.loss)
        pictures.append(torch.tensor(pack.sample("a", ["a thing"], settings)[0]).float())
    fresh = new_pack()
    fresh.add("a", small(), images())
    untrained = torch.tensor(fresh.sample("a", ["a thing"], settings)[0]).float()
    assert torch.equal(pictures[1], untrained) and not torch.equal(pictures[0], untrained)
    assert losses[0] != losses[1]


def test_evaluations_change_nothing_and_can_be_compared(new_pack: NewPack) -> None:
    own = {
        "dropout": 0.3,
        "noise_offset": 0.1,
        "caption_dropout": 0.5,
        "horizontal_flip": True,
        "shuffle_tags": True,
    }
    pack = new_pack()
    pack.add("a", small(**own), images())
    plain, expected = train(pack), weights(pack)
    pack = new_pack()
    pack.add("a", small(**own, validation_interval=1), images(), held_out=HELD_OUT)
    frozen = small(seed=44, validation_interval=2, learning_rate=1e-12)
    pack.add("frozen", frozen, images(), held_out=HELD_OUT)
    reports = train(pack)
    mine = [report for report in reports if report.job_id == "a"]
    assert torch.equal(weights(pack), expected) or (weights(pack) - expected).abs().max() < 1e-6
    assert [report.loss for report in mine] == pytest.approx([report.loss for report in plain], rel=1e-4)
    assert all(report.validation for report in mine)
    still = [report.validation.loss for report in reports if report.job_id == "frozen" and report.validation]
    assert len(still) == 3 and still == pytest.approx([still[0]] * 3, rel=1e-6)
    # Nothing of a job's own chance is in it: as long as it has not learned, every job is where others are.
    pack = new_pack()
    pack.add("a", small(**own, validation_interval=1, learning_rate=1e-12), images(), held_out=HELD_OUT)
    [report] = pack.step()
    assert report.validation is not None
    assert report.validation.loss == pytest.approx(still[0], rel=1e-6)


def test_the_last_step_is_always_evaluated(new_pack: NewPack) -> None:
    pack = new_pack()
    pack.add("a", small(validation_interval=4), images(), held_out=HELD_OUT)
    assert [bool(report.validation) for report in train(pack)] == [False, False, False, True, False, True]


def test_a_job_ends_when_its_patience_is_over(new_pack: NewPack, scripted: list[float]) -> None:
    scripted += [1.0, 0.8, 0.8, 0.9]
    pack = new_pack()
    pack.add("a", small(total_steps=50, validation_interval=1, patience=2), images(), held_out=HELD_OUT)
    pack.add("b", small(total_steps=5), images())
    reports = train(pack)
    mine = [report for report in reports if report.job_id == "a"]
    assert [report.finished for report in mine] == [False, False, False, True]
    assert sum(report.job_id == "b" for report in reports) == 5
    outcome = pack.outcome("a")
    assert (outcome.stopped_early, outcome.step, outcome.result_step) == (True, 4, 4)
    assert outcome.validation_loss == 0.9
    assert (mine[-1].validation.best_loss, mine[-1].validation.best_step) == (0.8, 2)
    assert pack.finished("a") and not pack.outcome("b").stopped_early


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_best_weights_are_the_result(decay: float, new_pack: NewPack, scripted: list[float]) -> None:
    pack = new_pack()
    pack.add("a", small(ema_decay=decay), images())
    pack.step()
    pack.step()
    second = weights(pack)
    scripted += [1.0, 0.5, 0.7, 0.6]
    pack = new_pack()
    kept = small(ema_decay=decay, total_steps=4, validation_interval=1, keep_best=True)
    pack.add("a", kept, images(), held_out=HELD_OUT)
    train(pack)
    assert torch.equal(weights(pack), second)
    outcome = pack.outcome("a")
    assert (outcome.step, outcome.result_step, outcome.validation_loss) == (4, 2, 0.5)
    assert not outcome.stopped_early


@pytest.mark.parametrize("stop_after", [1, 3])
def test_going_on_keeps_average_best_and_patience(
    stop_after: int, new_pack: NewPack, scripted: list[float], tmp_path: Path
) -> None:
    losses = [1.0, 0.25, 1 / 3, 0.5, 0.75]
    own = small(total_steps=50, validation_interval=1, patience=3, keep_best=True, ema_decay=0.5, dropout=0.2)
    scripted += losses
    pack = new_pack()
    pack.add("a", own, images(), held_out=HELD_OUT)
    straight, expected, outcome = train(pack), weights(pack), pack.outcome("a")
    assert len(straight) == 5

    scripted[:] = losses
    pack = new_pack()
    pack.add("a", own, images(), held_out=HELD_OUT)
    for _ in range(stop_after):
        pack.step()
    path = tmp_path / "a.ckpt"
    pack.save_checkpoint("a", path)
    pack = new_pack()
    pack.add("a", own, images(), held_out=HELD_OUT, checkpoint=path)
    assert train(pack) == straight[stop_after:]
    assert torch.equal(weights(pack), expected) and pack.outcome("a") == outcome

    pack.save_checkpoint("a", path)
    pack = new_pack()
    pack.add("a", own, images(), held_out=HELD_OUT, checkpoint=path)
    assert pack.finished("a") and pack.step() == [] and pack.outcome("a") == outcome
    assert torch.equal(weights(pack), expected)

    with pytest.raises(EngineFault, match="held_out"):
        new_pack().add("a", own, images(), held_out=images(3, seed=9), checkpoint=path)


def test_a_job_whose_evaluation_fails_leaves_alone(new_pack: NewPack, scripted: list[float]) -> None:
    scripted += [float("nan")]
    pack = new_pack()
    pack.add("a", small(validation_interval=2), images(), held_out=HELD_OUT)
    pack.add("b", small(), images())
    reports = train(pack)
    fault = next(report.fault for report in reports if report.fault)
    assert (fault.reason, pack.finished("b")) == ("LOSS_NOT_FINITE", True)
    assert "validation loss" in fault.message


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_evaluations_go_with_gradient_checkpointing_and_class_pictures(
    precision: str, new_pack: NewPack
) -> None:
    found = []
    for more in ({}, {"gradient_checkpointing": True, "prior_weight": 0.5, "prior_batch_size": 1}):
        pack = new_pack(precision)
        own = small(validation_interval=1, total_steps=1, learning_rate=1e-12, **more)
        pack.add("a", own, images(), held_out=HELD_OUT, prior=images(2, seed=5) if more else ())
        found += [report.validation.loss for report in train(pack)]
    assert found[1] == pytest.approx(found[0], rel=1e-6 if precision == "float32" else 1e-2)


def test_a_held_out_item_that_cannot_be_used_is_named(new_pack: NewPack) -> None:
    broken = TrainingImage(caption="x", load=lambda: torch.zeros(1))
    with pytest.raises(EngineFault, match="of the validation split: picture 4") as caught:
        new_pack().add("a", small(validation_interval=2), images(), held_out=[*HELD_OUT, broken])
    assert caught.value.reason == "PICTURE_UNREADABLE"


def test_texts_are_evaluated_too(llama: LanguageModel, new_text_pack: NewPack) -> None:
    pack = new_text_pack(llama)
    lesson = [text("Hello?", "Bright days!"), text("Goodbye?", "Mind the cat.")]
    own = job(learning_rate=1e-2, total_steps=12, validation_interval=4, ema_decay=0.3, optimizer="adafactor")
    pack.add("a", own, lesson, held_out=[text("Hello?", "Bright days!")])
    losses = [report.validation.loss for report in train(pack) if report.validation]
    assert len(losses) == 3 and losses[2] < losses[1] < losses[0]


def test_evaluations_without_items_are_refused(new_pack: NewPack) -> None:
    with pytest.raises(EngineFault) as caught:
        new_pack().add("a", small(validation_interval=2), images())
    assert caught.value.reason == "NOTHING_TO_VALIDATE"


def test_evaluations_do_not_count_for_the_speed() -> None:
    times = iter([0.0, 12.0])
    meter = ProgressMeter(clock=lambda: next(times))
    for step, pause in ((1, 0.0), (2, 10.0)):
        report = StepReport(
            job_id="a",
            step=step,
            total_steps=3,
            epoch=1,
            loss=1.0,
            learning_rate=1.0,
            rows=4,
            finished=False,
            fault=None,
            pause_seconds=pause,
        )
        figures = meter.update(report)
    assert (figures.images_per_second, figures.seconds_left) == (2.0, 2.0)


def test_an_evaluation_that_does_not_fit_into_memory_is_split(
    new_pack: NewPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluated(most_rows: int) -> float:
        pack = new_pack()
        pack.add("a", small(total_steps=1, validation_interval=1), images(), held_out=HELD_OUT)
        job = pack._jobs["a"]
        losses = job._family.losses

        def limited(members: Any, contexts: Any) -> torch.Tensor:
            if not torch.is_grad_enabled() and sum(len(member.rows) for member in members) > most_rows:
                raise torch.OutOfMemoryError("out of memory")
            return losses(members, contexts)

        monkeypatch.setattr(job._family, "losses", limited)
        [report] = pack.step()
        assert report.validation is not None
        return report.validation.loss

    assert evaluated(1) == pytest.approx(evaluated(8), rel=1e-5)
