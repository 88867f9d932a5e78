"""Going on from a checkpoint is, bit for bit, never having stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.trainer.engine import EngineFault, JobSpec, Pack
from tests.fixtures.training import images, spec, tagged

NewPack = Callable[..., Pack]

EVERYTHING = spec(
    total_steps=4,
    dropout=0.2,
    noise_offset=0.1,
    caption_dropout=0.3,
    horizontal_flip=True,
    train_text_encoder=True,
    schedule="cosine",
    warmup_steps=2,
)


def tensors(pack: Pack, job_id: str) -> list[torch.Tensor]:
    return [tensor for _, _, w in pack.adapter(job_id).each() for tensor in (w.down_RD, w.up_OR)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stop_after", [0, 2])
def test_resuming_is_bit_for_bit(precision: str, stop_after: int, new_pack: NewPack, tmp_path: Path) -> None:
    pack = new_pack(precision)
    pack.add("a", EVERYTHING, images())
    pack.add("b", spec(total_steps=4, seed=9), images(seed=2))
    straight = [pack.step() for _ in range(4)]
    expected = {name: tensors(pack, name) for name in ("a", "b")}

    pack = new_pack(precision)
    pack.add("a", EVERYTHING, images())
    pack.add("b", spec(total_steps=4, seed=9), images(seed=2))
    for _ in range(stop_after):
        pack.step()
    for name in ("a", "b"):
        pack.save_checkpoint(name, tmp_path / f"{name}.ckpt")

    pack = new_pack(precision)
    pack.add("a", EVERYTHING, images(), checkpoint=tmp_path / "a.ckpt")
    pack.add("b", spec(total_steps=4, seed=9), images(seed=2), checkpoint=tmp_path / "b.ckpt")
    rest = [pack.step() for _ in range(4 - stop_after)]
    assert rest == straight[stop_after:]
    assert pack.step() == []
    for name in ("a", "b"):
        assert all(torch.equal(x, y) for x, y in zip(tensors(pack, name), expected[name], strict=True))


def test_buckets_tags_and_class_pictures_resume_bit_for_bit(new_pack: NewPack, tmp_path: Path) -> None:
    with_prior = replace(
        EVERYTHING, shuffle_tags=True, keep_tokens=1, prior_weight=0.5, prior_batch_size=3, total_steps=6
    )
    jobs = {"a": with_prior, "b": replace(with_prior, train_text_encoder=False, seed=9, batch_size=3)}

    def packed(checkpoints: bool) -> Pack:
        pack = new_pack()
        for seed, (name, job) in enumerate(jobs.items()):
            path = tmp_path / f"{name}.ckpt" if checkpoints else None
            pack.add(name, job, tagged(7, seed), prior=tagged(4, seed + 2), checkpoint=path)
        return pack

    pack = packed(checkpoints=False)
    straight = []
    for step in range(6):
        if step == 3:
            for name in jobs:
                pack.save_checkpoint(name, tmp_path / f"{name}.ckpt")
        straight.append(pack.step())
    expected = {name: tensors(pack, name) for name in jobs}
    pack = packed(checkpoints=True)
    assert [pack.step() for _ in range(3)] == straight[3:]
    for name in jobs:
        assert all(torch.equal(x, y) for x, y in zip(tensors(pack, name), expected[name], strict=True))
    with pytest.raises(EngineFault, match="prior") as caught:
        new_pack().add("a", jobs["a"], tagged(7), prior=tagged(4, 3), checkpoint=tmp_path / "a.ckpt")
    assert caught.value.reason == "CHECKPOINT_MISMATCH"


def test_equal_states_are_equal_tensors_in_different_files(new_pack: NewPack, tmp_path: Path) -> None:
    files = [tmp_path / "0.ckpt", tmp_path / "1.ckpt"]
    for file in files:
        pack = new_pack()
        pack.add("a", EVERYTHING, images())
        pack.step()
        pack.save_checkpoint("a", file)
    first, second = (load_file(file) for file in files)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    # Whoever deletes the one from a store that names files by their bytes does not delete the other.
    assert files[0].read_bytes() != files[1].read_bytes()


@pytest.fixture
def checkpoint(new_pack: NewPack, tmp_path: Path) -> Path:
    pack = new_pack()
    pack.add("a", spec(), images())
    pack.step()
    pack.save_checkpoint("a", tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


@pytest.mark.parametrize(
    ("changed", "count", "word"),
    [(replace(spec(), rank=2), 5, "spec"), (replace(spec(), seed=2), 5, "spec"), (spec(), 4, "items")],
)
def test_a_checkpoint_of_another_job_is_refused(
    changed: JobSpec, count: int, word: str, new_pack: NewPack, checkpoint: Path
) -> None:
    pack = new_pack()
    with pytest.raises(EngineFault, match=word) as caught:
        pack.add("a", changed, images(count), checkpoint=checkpoint)
    assert caught.value.reason == "CHECKPOINT_MISMATCH"
    assert pack.job_ids == ()


@pytest.mark.parametrize("fault", ["missing", "truncated", "foreign", "incomplete", "pickle", "generator"])
def test_a_broken_checkpoint_is_refused(fault: str, new_pack: NewPack, checkpoint: Path) -> None:
    from lorakit.safetensors_header import read_header

    header = dict(read_header(checkpoint).metadata)
    content = {name: tensor.clone() for name, tensor in load_file(checkpoint).items()}
    if fault == "missing":
        checkpoint.unlink()
    elif fault == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    elif fault == "foreign":
        save_file({"x": torch.ones(1)}, checkpoint)
    elif fault == "incomplete":
        save_file({k: v for k, v in content.items() if not k.startswith("order/")}, checkpoint, header)
    elif fault == "generator":
        content["generators/noise"] = torch.zeros(3, dtype=torch.uint8)
        save_file(content, checkpoint, header)
    else:
        torch.save(content, checkpoint)
    with pytest.raises(EngineFault) as caught:
        new_pack().add("a", spec(), images(), checkpoint=checkpoint)
    assert caught.value.reason == "CHECKPOINT_MISMATCH"
