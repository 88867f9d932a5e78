"""Jobs of a pack train as if each were alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lorakit.adapter import Adapter, load_adapter, save_kohya
from lorakit.families.sd15 import BaseModel
from services.trainer.engine import (
    DiffusionFamily,
    EngineFault,
    JobSpec,
    Pack,
    SampleSettings,
    TrainingImage,
    choose_precision,
)
from tests.fixtures.training import RESOLUTION, images, spec, tagged

NewPack = Callable[..., Pack]

DIFFERENT = {
    "plain": spec(),
    "other": spec(
        rank=2, alpha=1.0, learning_rate=5e-4, seed=5, batch_size=3, schedule="cosine", warmup_steps=2
    ),
    "text": spec(train_text_encoder=True, seed=7, targets=frozenset({"attention"}), max_gradient_norm=0.0),
    "noisy": spec(
        dropout=0.3, noise_offset=0.1, caption_dropout=0.5, horizontal_flip=True, min_snr_gamma=0.0
    ),
    "prodigy": spec(optimizer="prodigy", learning_rate=1.0, text_encoder_learning_rate=1.0, rank=3, seed=11),
    "average": spec(optimizer="adafactor", ema_decay=0.9, batch_size=1, seed=12),
    "buckets": spec(shuffle_tags=True, keep_tokens=1, targets=frozenset({"feed_forward"}), seed=13),
    "class": spec(prior_weight=0.5, prior_batch_size=1, gradient_checkpointing=True, alpha=16.0, seed=14),
}
"""Eight jobs that have little in common but their base."""


def add(pack: Pack, name: str) -> None:
    items = tagged(seed=len(name)) if name == "buckets" else images(seed=len(name))
    prior = images(3, seed=99) if name == "class" else ()
    pack.add(name, DIFFERENT[name], items, prior=prior)


def flat(adapter: Adapter) -> torch.Tensor:
    return torch.cat([w.delta().flatten() for _, _, w in adapter.each()])


def parameters(adapter: Adapter) -> torch.Tensor:
    return torch.cat([t.flatten() for _, _, w in adapter.each() for t in (w.down_RD, w.up_OR)])


def train(pack: Pack, steps: int = 100) -> dict[str, list[Any]]:
    reports: dict[str, list[Any]] = {}
    for _ in range(steps):
        done = pack.step()
        if not done:
            break
        for report in done:
            reports.setdefault(report.job_id, []).append(report)
    return reports


def gradients(pack: Pack, job_id: str) -> torch.Tensor:
    """What the optimizer of a job is given in the next step."""
    job = pack._jobs[job_id]
    found: list[torch.Tensor] = []
    update = job.update

    def keep() -> None:
        found.extend(p.grad.flatten().clone() for p in job.parameters.parameters() if p.grad is not None)
        update()

    job.update = keep  # type: ignore[method-assign]
    pack.step()
    return torch.cat(found)


@pytest.mark.parametrize("companions", [["other"], [name for name in DIFFERENT if name != "plain"]])
def test_gradients_are_those_of_the_job_alone(companions: list[str], new_pack: NewPack) -> None:
    alone: dict[str, torch.Tensor] = {}
    for name in ["plain", *companions]:
        pack = new_pack()
        add(pack, name)
        pack.step()
        alone[name] = gradients(pack, name)
    for name in ["plain", *companions]:
        pack = new_pack()
        for each in ["plain", *companions]:
            add(pack, each)
        pack.step()
        packed = gradients(pack, name)
        assert alone[name].abs().max() > 1e-4
        assert torch.allclose(packed, alone[name], atol=1e-5, rtol=1e-4)


def test_results_are_those_of_the_jobs_alone(new_pack: NewPack) -> None:
    alone = {}
    for name in DIFFERENT:
        pack = new_pack()
        add(pack, name)
        reports = train(pack)[name]
        assert [report.step for report in reports] == [1, 2, 3, 4]
        assert [report.finished for report in reports] == [False] * 3 + [True]
        alone[name] = pack.adapter(name), [report.loss for report in reports]
    pack = new_pack()
    for name in DIFFERENT:
        add(pack, name)
    together = train(pack)
    for name in DIFFERENT:
        adapter, losses = alone[name]
        assert [report.loss for report in together[name]] == pytest.approx(losses, rel=1e-4)
        # Adam turns rounding of a tiny gradient into a step of full size: compare what the adapter does.
        assert torch.allclose(flat(pack.adapter(name)), flat(adapter), atol=1e-4)


def test_the_text_encoder_is_trained_only_if_asked(new_pack: NewPack) -> None:
    pack = new_pack()
    for name in ("plain", "text"):
        pack.add(name, DIFFERENT[name], images())
    train(pack, 3)
    assert set(pack.adapter("plain").components) == {"unet"}
    text = pack.adapter("text")
    assert set(text.components) == {"unet", "text_encoder"}
    changed = [w.up_OR.abs().max() > 0 for c, _, w in text.each() if c == "text_encoder"]
    assert all(changed)


def test_jobs_join_and_leave_between_steps(new_pack: NewPack) -> None:
    pack = new_pack()
    pack.add("a", spec(), images())
    alone = train(pack)["a"]
    pack = new_pack()
    pack.add("first", spec(seed=3), images(seed=3))
    pack.step()
    pack.add("a", spec(), images())
    with pytest.raises(ValueError, match="already"):
        pack.add("a", spec(), images())
    pack.step()
    pack.remove("first")
    assert pack.job_ids == ("a",)
    reports = train(pack)["a"]
    assert [report.step for report in reports] == [2, 3, 4]
    assert reports[-1].loss == pytest.approx(alone[-1].loss, rel=1e-4)
    assert pack.step() == []


def test_epochs_show_every_picture_once(new_pack: NewPack) -> None:
    pack = new_pack()
    pack.add("a", spec(total_steps=6, batch_size=2), images(5))
    reports = train(pack)["a"]
    assert [(report.epoch, report.rows) for report in reports] == [
        (1, 2),
        (1, 2),
        (1, 1),
        (2, 2),
        (2, 2),
        (2, 1),
    ]


def test_it_overfits_a_tiny_set(new_pack: NewPack) -> None:
    pack = new_pack()
    common = spec(rank=16, alpha=16.0, batch_size=4, min_snr_gamma=0.0, weight_decay=0.0)

    def loss_of(start_from: Adapter | None) -> float:
        """Always on the same rows, noise and timesteps: a rate of 0 changes nothing."""
        pack.add("probe", replace(common, learning_rate=0.0, total_steps=2), images(4), start_from=start_from)
        losses = [report.loss for report in train(pack)["probe"]]
        pack.remove("probe")
        return sum(losses) / len(losses)

    before = loss_of(None)
    pack.add("a", replace(common, learning_rate=8e-3, total_steps=30), images(4))
    train(pack)
    assert loss_of(pack.adapter("a")) < 0.92 * before


def poison(kind: str) -> tuple[JobSpec, str]:
    if kind == "loss":
        return spec(learning_rate=1e30, max_gradient_norm=0.0, weight_decay=0.0), "NOT_FINITE"
    return spec(seed=2), "JOB_RAISED"


@pytest.mark.parametrize("kind", ["loss", "draw", "pass", "update"])
def test_a_poison_job_is_ejected_and_the_others_go_on(
    kind: str, new_pack: NewPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = new_pack()
    pack.add("good", DIFFERENT["noisy"], images())
    alone = train(pack)["good"]
    pack = new_pack()
    pack.add("good", DIFFERENT["noisy"], images())
    bad_spec, reason = poison(kind)
    pack.add("bad", bad_spec, images(seed=4))
    bad = pack._jobs["bad"]

    def broken(*_: object) -> None:
        raise RuntimeError("a disk is gone")

    if kind == "draw":
        monkeypatch.setattr(bad.order, "next_batch", broken)
    if kind == "update":
        monkeypatch.setattr(bad.optimizer, "step", broken)
    if kind == "pass":
        lora = next(iter(bad.parameters.components["unet"].values()))
        lora.down.data = torch.zeros(4, 1)
    reports = train(pack)
    assert [report.step for report in reports["good"]] == [1, 2, 3, 4]
    assert [report.loss for report in reports["good"]] == pytest.approx(
        [report.loss for report in alone], rel=1e-3
    )
    last = reports["bad"][-1]
    assert isinstance(last.fault, EngineFault)
    assert reason in last.fault.reason
    assert not last.finished
    assert [report.fault for report in reports["bad"][:-1]] == [None] * (len(reports["bad"]) - 1)
    assert all(math.isfinite(report.loss) for report in reports["bad"][:-1])
    assert pack.job_ids == ("good", "bad")


def test_continuing_keeps_what_was_learned(new_pack: NewPack, tmp_path: Path) -> None:
    pack = new_pack()
    pack.add("a", spec(train_text_encoder=True), images())
    train(pack)
    learned = pack.adapter("a")
    save_kohya(learned, tmp_path / "a.safetensors", {}, dtype=torch.float32)
    parent = load_adapter(tmp_path / "a.safetensors", base_modules=pack.base_modules)
    pack.add("b", spec(train_text_encoder=True, rank=6, alpha=3.0), images(), start_from=parent)
    assert torch.allclose(flat(pack.adapter("b")), flat(learned), atol=1e-5)
    with pytest.raises(EngineFault) as caught:
        pack.add("c", spec(), images(), start_from=parent)
    assert caught.value.reason == "PARENT_MISMATCH"
    assert pack.job_ids == ("a", "b")


def missing_picture() -> torch.Tensor:
    raise FileNotFoundError("none.png")


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        ([], "NO_PICTURES"),
        ([TrainingImage(caption="x", load=lambda: torch.zeros(3, 8, 8))], "PICTURE_UNREADABLE"),
        ([TrainingImage(caption="x", load=lambda: torch.full((3, 16, 16), math.nan))], "PICTURE_UNREADABLE"),
        ([TrainingImage(caption="x", load=missing_picture)], "PICTURE_UNREADABLE"),
    ],
)
def test_bad_pictures_harm_their_job_alone(
    pictures: list[TrainingImage], reason: str, new_pack: NewPack
) -> None:
    pack = new_pack()
    with pytest.raises(EngineFault) as caught:
        pack.add("a", spec(), pictures)
    assert caught.value.reason == reason
    assert pack.job_ids == ()


def test_caching_tells_how_far_it_is(new_pack: NewPack) -> None:
    seen: list[tuple[int, int]] = []
    new_pack().add("a", spec(), images(10), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 10), (10, 10)]


def test_samples_leave_training_alone(new_pack: NewPack) -> None:
    pack = new_pack()
    pack.add("a", DIFFERENT["noisy"], images())
    expected = train(pack)["a"]
    pack = new_pack()
    pack.add("a", DIFFERENT["noisy"], images())
    pack.step()
    settings = SampleSettings(seed=3, steps=4)
    before, again = (
        [np.asarray(picture) for picture in pack.sample("a", ["a thing", "b"], settings)] for _ in range(2)
    )
    assert [picture.shape for picture in before] == [(RESOLUTION, RESOLUTION, 3)] * 2
    assert all((one == other).all() for one, other in zip(before, again, strict=True))
    assert (before[0] != before[1]).any()
    assert [report.loss for report in train(pack)["a"]] == [report.loss for report in expected[1:]]


def test_bfloat16_trains_float32_parameters(new_pack: NewPack) -> None:
    pack = new_pack("bfloat16")
    pack.add("a", spec(), images())
    pack.add("text", spec(train_text_encoder=True), images())
    reports = train(pack)
    assert all(report.fault is None for report in reports["a"] + reports["text"])
    assert parameters(pack.adapter("a")).dtype == torch.float32
    pack = new_pack("float32")
    pack.add("a", spec(), images())
    exact = train(pack)["a"]
    assert [r.loss for r in reports["a"]] == pytest.approx([r.loss for r in exact], rel=0.05)
    assert choose_precision("cpu") in {"float32", "bfloat16"}


def test_the_base_is_left_as_it_was(base: BaseModel) -> None:
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    with Pack(DiffusionFamily(base, resolution=RESOLUTION), precision="float32") as pack:
        pack.add("a", spec(), images())
        train(pack, 2)
    after = base.unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert type(base.unet.mid_block.attentions[0].proj_in) is torch.nn.Conv2d
