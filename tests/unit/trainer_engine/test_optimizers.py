"""Every optimizer learns, goes on from a checkpoint as if nothing had been, and knows no neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorakit.module_shape import ModuleShape
from lorakit.safetensors_header import read_header
from lorakit.trainable import TrainableAdapter
from services.trainer.engine import EngineFault, JobSpec, Pack
from services.trainer.engine import optimizers as engine_optimizers
from services.trainer.engine.flat_parameters import FlatParameters
from services.trainer.engine.optimizers import (
    build_optimizer,
    flat_parameters,
    optimizer_state,
    restore_optimizer,
)
from tests.fixtures.training import images, spec

NewPack = Callable[..., Pack]

RATES = {"adamw": 2e-3, "adamw_8bit": 2e-3, "prodigy": 1.0, "adafactor": 2e-3}
# Its library is no dependency: it is there where somebody wants it.
HERE = [name for name in RATES if name != "adamw_8bit" or find_spec("bitsandbytes") is not None]


def chosen(optimizer: str, **changes: object) -> JobSpec:
    rate = RATES[optimizer]
    return spec(optimizer=optimizer, learning_rate=rate, text_encoder_learning_rate=rate, **changes)


def weights(pack: Pack, job_id: str) -> torch.Tensor:
    return torch.cat([t.flatten() for _, _, w in pack.adapter(job_id).each() for t in (w.down_RD, w.up_OR)])


@pytest.mark.parametrize("optimizer", HERE)
def test_the_loss_falls(optimizer: str, new_pack: NewPack) -> None:
    pack = new_pack()
    # Prodigy begins with tiny steps.
    steps = 100 if optimizer == "prodigy" else 40
    attention = frozenset({"attention"})
    learned = chosen(optimizer, total_steps=steps, validation_interval=steps, rank=8, targets=attention)
    pack.add("learns", learned, images(2), held_out=images(2))
    pack.add("does not", replace(learned, learning_rate=1e-12, total_steps=1), images(2), held_out=images(2))
    losses = {}
    while reports := pack.step():
        losses |= {r.job_id: r.validation.loss for r in reports if r.validation}
    assert losses["learns"] < 0.97 * losses["does not"]


@pytest.mark.parametrize("optimizer", HERE)
@pytest.mark.parametrize("stop_after", [0, 3])
def test_going_on_is_bit_for_bit(optimizer: str, stop_after: int, new_pack: NewPack, tmp_path: Path) -> None:
    own = chosen(optimizer, total_steps=6, train_text_encoder=True, dropout=0.1, schedule="cosine", seed=3)
    pack = new_pack()
    pack.add("a", own, images())
    straight = [pack.step() for _ in range(6)]
    expected = weights(pack, "a")

    pack = new_pack()
    pack.add("a", own, images())
    for _ in range(stop_after):
        pack.step()
    pack.save_checkpoint("a", tmp_path / "a.ckpt")
    pack = new_pack()
    pack.add("a", own, images(), checkpoint=tmp_path / "a.ckpt")
    assert [pack.step() for _ in range(6 - stop_after)] == straight[stop_after:]
    assert torch.equal(weights(pack, "a"), expected)


def test_a_pack_of_all_optimizers_trains_each_as_if_alone(new_pack: NewPack) -> None:
    alone = {}
    for optimizer in HERE:
        pack = new_pack()
        pack.add(optimizer, chosen(optimizer), images())
        before = weights(pack, optimizer)
        for _ in range(4):
            pack.step()
        alone[optimizer] = (before, weights(pack, optimizer))
    pack = new_pack()
    for optimizer in HERE:
        pack.add(optimizer, chosen(optimizer), images())
    for _ in range(4):
        pack.step()
    for optimizer, (before, after) in alone.items():
        moved = (after - before).norm()
        assert moved > 0
        assert (weights(pack, optimizer) - after).norm() < 1e-3 * moved


def adapter() -> TrainableAdapter:
    shapes = {"unet": {"large enough for 8 bits": ModuleShape(600, 640), "small": ModuleShape(8, 4)}}
    return TrainableAdapter.create(shapes, rank=8, alpha=8.0, generator=torch.Generator().manual_seed(1))


Made = tuple[torch.optim.Optimizer, dict[str, FlatParameters]]


def made(parameters: TrainableAdapter, own: JobSpec) -> Made:
    flat = flat_parameters(parameters, own)
    return build_optimizer(parameters, own, flat), flat


def drive(parameters: TrainableAdapter, optimizer: Made, steps: int) -> None:
    """Steps towards 1 in every element."""
    for _ in range(steps):
        for parameter in parameters.parameters():
            parameter.grad = parameter.detach() - 1.0
        for flat in optimizer[1].values():
            flat.gather_gradients()
        optimizer[0].step()


@pytest.mark.parametrize("optimizer", HERE)
def test_the_numbers_of_a_long_run_come_back_bit_for_bit(optimizer: str) -> None:
    parameters, copy = adapter(), adapter()
    straight = made(parameters, chosen(optimizer))
    drive(parameters, straight, 60)
    tensors, numbers = optimizer_state(straight[0])
    assert any(tensor.dtype is torch.uint8 for tensor in tensors.values()) == (optimizer == "adamw_8bit")
    copy.load_state_dict(parameters.state_dict())
    resumed = made(copy, chosen(optimizer))
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    restore_optimizer(resumed[0], tensors, json.loads(json.dumps(numbers)))
    if optimizer == "prodigy":
        assert resumed[0].param_groups[0]["d"] == straight[0].param_groups[0]["d"] > 1e-5
    drive(parameters, straight, 20)
    drive(copy, resumed, 20)
    assert all(torch.equal(x, y) for x, y in zip(parameters.parameters(), copy.parameters(), strict=True))
    assert optimizer_state(resumed[0])[1] == optimizer_state(straight[0])[1]


def test_adamw_in_one_piece_is_adamw() -> None:
    own = chosen("adamw", weight_decay=0.3)
    parameters, apart = adapter(), adapter()
    for one in (parameters, apart):
        for parameter in one.parameters():
            parameter.data += 0.5
    drive(parameters, made(parameters, own), 5)
    plain = torch.optim.AdamW(apart.parameters(), lr=own.learning_rate, weight_decay=0.3, betas=(0.9, 0.999))
    drive(apart, (plain, {}), 5)
    for x, y in zip(parameters.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(x, y, rtol=1e-6, atol=1e-8)


def test_the_text_encoder_keeps_its_own_rate(new_pack: NewPack) -> None:
    pack = new_pack()
    own = spec(train_text_encoder=True, learning_rate=2e-3, text_encoder_learning_rate=1e-3)
    pack.add("a", own, images())
    assert [group["lr"] for group in pack._jobs["a"].optimizer.param_groups] == [2e-3, 1e-3]


@pytest.mark.parametrize("library", ["missing", "broken"])
def test_8_bit_adamw_is_refused_where_its_library_does_not_run(
    library: str, new_pack: NewPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(groups: object, weight_decay: float) -> None:
        raise ImportError("no such thing") if library == "missing" else RuntimeError("no kernel\nsecond line")

    engine_optimizers._fault_of_8bit.cache_clear()
    monkeypatch.setattr(engine_optimizers, "_new_8bit", fails)
    words = r"optimization\.optimizer: adamw_8bit .*no (such thing|kernel)"
    with pytest.raises(EngineFault, match=words) as caught:
        new_pack().add("a", spec(optimizer="adamw_8bit"), images())
    engine_optimizers._fault_of_8bit.cache_clear()
    assert caught.value.reason == "OPTIMIZER_UNAVAILABLE" and "\n" not in caught.value.message


def test_an_unknown_optimizer_is_refused(new_pack: NewPack) -> None:
    with pytest.raises(EngineFault, match=r"optimization\.optimizer: 'sgd'"):
        new_pack().add("a", spec(optimizer="sgd"), images())


@pytest.mark.parametrize(
    "broken", [{"groups": []}, {"groups": [{"d": "1"}]}, {"groups": [{"params": 1}]}, None]
)
def test_numbers_that_are_none_are_refused(broken: object, new_pack: NewPack, tmp_path: Path) -> None:
    pack = new_pack()
    pack.add("a", chosen("prodigy"), images())
    pack.step()
    path = tmp_path / "a.ckpt"
    pack.save_checkpoint("a", path)
    header = dict(read_header(path).metadata)
    description = json.loads(header["brandloom_checkpoint"])
    description["optimizer"] = None if broken is None else {**description["optimizer"], **broken}  # type: ignore[dict-item]
    content = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(content, path, {**header, "brandloom_checkpoint": json.dumps(description)})
    with pytest.raises(EngineFault) as caught:
        new_pack().add("a", chosen("prodigy"), images(), checkpoint=path)
    assert caught.value.reason == "CHECKPOINT_MISMATCH"
