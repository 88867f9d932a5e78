"""The denoising batch: what goes wrong with one job stays with that job."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lorakit.adapter import Adapter, LoraWeights, save_kohya
from lorakit.families import sd15
from lorakit.families.naming import UNET
from services.inference.domain_jobs import (
    ImageJob,
    Progress,
    RawPicture,
    Started,
)
from services.inference.engine import decoding
from services.inference.engine.batch import UNDECODED
from services.inference.engine.bucket import Bucket
from services.inference.engine.errors import JobError
from services.inference.engine.held_bases import HeldBases
from services.inference.engine.pictures import encode_png
from services.inference.engine.preparation import Preparation
from services.inference.engine.stacks import Stacks
from tests.fixtures.batch_harness import Harness, lora_file
from tests.fixtures.tiny_loras import random_adapter, write_lora


def test_events_come_in_order(harness: Harness) -> None:
    harness.run(harness.job("a", steps=3, count=2))
    kinds = [type(event) for event in harness.events["a"]]
    assert kinds[0] is Started
    assert kinds[-2:] == [RawPicture, RawPicture]
    progress = [event for event in harness.events["a"] if isinstance(event, Progress)]
    assert progress[-1] == Progress(step=6, total_steps=6, seconds_left=0.0)
    assert harness.ends == {"a": None}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x04\x95pickle", "LORA_FILE_INVALID"),
        (b"\xff" * 64, "LORA_FILE_INVALID"),
        (b"", "LORA_FILE_INVALID"),
    ],
)
def test_a_bad_file_fails_its_own_job_alone(
    harness: Harness, tmp_path: Path, content: bytes, reason: str
) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(content)
    harness.run(harness.job("bad", loras=(lora_file(bad),)), harness.job("good"))
    failure = harness.ends["bad"]
    assert failure is not None
    assert (failure.kind, failure.reason, failure.metadata["reference"]) == (
        "FailedPrecondition",
        reason,
        "bad",
    )
    assert harness.ends["good"] is None
    assert len(harness.pictures("good")) == 1


def test_locon_files_work_beside_others(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "locon.safetensors"
    weights = LoraWeights(torch.ones(2, 4, 3, 3) / 20, torch.ones(32, 2, 1, 1) / 20, 2.0)
    save_kohya(Adapter({UNET: {"conv_in": weights}}, "sd15"), path, {"ss_network_module": "lycoris"})
    harness.run(harness.job("locon", loras=(lora_file(path),)), harness.job("plain"))
    assert harness.ends == {"locon": None, "plain": None}
    assert np.abs(harness.pixels("locon").astype(int) - harness.pixels("plain")).max() > 1
    with Harness(harness.directory, harness.digest) as alone:
        alone.run(alone.job("plain"))
    assert harness.pictures("plain")[0].png == alone.pictures("plain")[0].png


@pytest.mark.parametrize("kind", ["dora", "loha", "lokr"])
def test_kinds_that_cannot_be_stacked_are_refused_by_name(
    harness: Harness, tmp_path: Path, kind: str
) -> None:
    module = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    parts = {
        "dora": {"lora_down.weight": (2, 32), "lora_up.weight": (32, 2), "dora_scale": (32, 1)},
        "loha": {"hada_w1_a": (32, 2), "hada_w1_b": (2, 32), "hada_w2_a": (32, 2), "hada_w2_b": (2, 32)},
        "lokr": {"lokr_w1": (4, 4), "lokr_w2": (8, 8)},
    }
    path = tmp_path / f"{kind}.safetensors"
    save_file({f"{module}.{name}": torch.ones(shape) for name, shape in parts[kind].items()}, path)
    harness.run(harness.job("odd", loras=(lora_file(path),)), harness.job("plain"))
    failure = harness.ends["odd"]
    assert failure is not None
    assert failure.reason == "LORA_FILE_INVALID"
    assert f"({kind})" in failure.message
    assert module in failure.message
    assert harness.ends["plain"] is None


def test_numbers_that_are_not_finite_stay_with_their_job(
    harness: Harness, base: sd15.BaseModel, tmp_path: Path
) -> None:
    adapter = random_adapter(base, seed=1, size=1e18, components=(UNET,))
    path = tmp_path / "wild.safetensors"
    save_kohya(adapter, path, {}, dtype=torch.float32)
    harness.run(harness.job("wild", loras=(lora_file(path, 10.0),)), harness.job("calm", seed=3))
    with Harness(harness.directory, harness.digest) as alone:
        alone.run(alone.job("calm", seed=3))
    failure = harness.ends["wild"]
    assert failure is not None
    assert failure.reason == "PICTURE_NOT_FINITE"
    assert harness.pictures("calm")[0].png == alone.pictures("calm")[0].png


def test_a_step_that_fails_loses_its_rows_and_nothing_more(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Bucket.step

    def fail_when_wide(bucket: Bucket) -> None:
        if bucket.rows[0].sampling.latents_CHW.shape[2] > 8:
            raise RuntimeError("no kernel\nand a long trace")
        step(bucket)

    monkeypatch.setattr(Bucket, "step", fail_when_wide)
    harness.run(harness.job("wide", width=32), harness.job("square"))
    failure = harness.ends["wide"]
    assert failure is not None
    assert (failure.kind, failure.reason) == ("Unavailable", "ENGINE_STEP_FAILED")
    assert "trace" not in failure.message
    assert harness.ends["square"] is None


def test_settings_that_the_base_cannot_follow_name_their_field(harness: Harness) -> None:
    harness.run(
        harness.job("skip", clip_skip=2),
        harness.job("small", width=2, height=16),
        harness.job("fine", clip_skip=1),
    )
    found = {job_id: failure and (failure.kind, failure.field) for job_id, failure in harness.ends.items()}
    assert found == {
        "skip": ("InvalidArgument", "clip_skip"),
        "small": ("InvalidArgument", "width"),
        "fine": None,
    }


def test_a_base_that_changed_or_is_gone_is_refused(harness: Harness, tmp_path: Path) -> None:
    changed = replace(harness.job("x").base, sha256="0" * 64)
    gone = replace(harness.job("x").base, sha256="1" * 64, source=str(tmp_path / "nothing"))
    harness.run(harness.job("changed", base=changed), harness.job("gone", base=gone))
    reasons = {job_id: failure and failure.reason for job_id, failure in harness.ends.items()}
    assert reasons == {"changed": "BASE_MODEL_CHANGED", "gone": "BASE_MODEL_UNUSABLE"}


def test_no_job_holds_up_the_others(harness: Harness) -> None:
    """A job of many pictures gives every row that gets free to the one that has none."""
    harness.batch.submit(harness.job("many", count=12))
    harness.batch.step()
    harness.batch.submit(harness.job("one", seed=9))
    while "one" not in harness.ends:
        harness.batch.step()
    assert len(harness.pictures("many")) < 12
    harness.batch.cancel("many")
    harness.batch.step(idle_seconds=0.0)
    assert not harness.batch.has_work
    assert harness.batch.active_rows == 0


def test_a_lora_that_is_slow_to_read_holds_up_no_step(
    harness: Harness, base: sd15.BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = lora_file(write_lora(base, tmp_path / "hero.safetensors", seed=1))
    reading, go_on = threading.Event(), threading.Event()
    fold = Stacks.fold

    def slow(stacks: Stacks, loras: Any, base: Any) -> Any:
        if loras:
            reading.set()
            assert go_on.wait(60)
        return fold(stacks, loras, base)

    monkeypatch.setattr(Stacks, "fold", slow)
    harness.batch.submit(harness.job("plain", steps=30))
    harness.batch.submit(harness.job("stacked", loras=(lora,)))
    while "plain" not in harness.ends:
        harness.batch.step()
    assert reading.is_set()
    assert "stacked" not in harness.ends
    go_on.set()
    harness.run()
    assert harness.ends == {"plain": None, "stacked": None}


def test_a_base_that_is_slow_to_load_holds_up_no_other(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.run(harness.job("first"))
    go_on = threading.Event()
    load = HeldBases._loaded_from

    def slow(bases: HeldBases[Any], *args: Any) -> Any:
        assert go_on.wait(60)
        return load(bases, *args)

    monkeypatch.setattr(HeldBases, "_loaded_from", slow)
    other = replace(harness.job("x").base, sha256="1" * 64, source=str(tmp_path / "nothing"))
    for number in range(20):
        harness.batch.submit(harness.job(f"slow {number}", base=other))
    harness.batch.step(idle_seconds=0.0)
    harness.batch.submit(harness.job("quick", brand="zenith"))
    for _ in range(200):
        harness.batch.step(idle_seconds=0.1)
        if "quick" in harness.ends:
            break
    go_on.set()
    assert harness.ends == {"first": None, "quick": None}


def test_what_was_cancelled_is_not_prepared(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []
    begun, go_on = threading.Event(), threading.Event()
    prepare = Preparation.prepare

    def noted(preparation: Preparation, job: ImageJob) -> Any:
        begun.set()
        assert go_on.wait(60)
        prepared.append(job.job_id)
        return prepare(preparation, job)

    monkeypatch.setattr(Preparation, "prepare", noted)
    harness.batch.submit(harness.job("first"))
    harness.batch.step(idle_seconds=0.0)
    assert begun.wait(60)
    for number in range(3):
        harness.batch.submit(harness.job(f"gone {number}"))
    harness.batch.step(idle_seconds=0.0)
    for number in range(3):
        harness.batch.cancel(f"gone {number}")
    harness.batch.step(idle_seconds=0.0)
    go_on.set()
    harness.run(harness.job("last"))
    assert prepared == ["first", "last"]


def test_no_row_joins_while_too_many_wait_to_be_decoded(
    directory: Path, base: sd15.BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    pictures = decoding._pictures

    def slow(together: Any) -> Any:
        assert go_on.wait(60)
        return pictures(together)

    monkeypatch.setattr(decoding, "_pictures", slow)
    with Harness(directory, base.sha256, max_rows=1) as harness:
        harness.batch.submit(harness.job("many", count=12))
        while len(harness.latents) < UNDECODED:
            harness.batch.step(idle_seconds=0.1)
        for _ in range(5):
            harness.batch.step(idle_seconds=0.0)
        assert len(harness.latents) == UNDECODED
        go_on.set()
        harness.run()
        assert harness.ends == {"many": None}


def test_a_picture_that_cannot_be_written_fails_its_own_job_alone(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []

    def fails_once(image: Any) -> bytes:
        written.append(image)
        if len(written) == 1:
            raise MemoryError
        return encode_png(image)

    monkeypatch.setattr(decoding, "encode_png", fails_once)
    harness.run(harness.job("a"))
    harness.run(harness.job("b"))
    failure = harness.ends["a"]
    assert failure is not None
    assert failure.reason == "ENGINE_DECODE_FAILED"
    assert harness.ends["b"] is None


def test_a_stack_too_large_to_keep_is_not_pinned(
    directory: Path, base: sd15.BaseModel, tmp_path: Path
) -> None:
    lora = lora_file(write_lora(base, tmp_path / "hero.safetensors", seed=1))
    with Harness(directory, base.sha256, lora_bytes=1) as harness:
        loaded = harness.preparation.bases.get(harness.job("x").base)
        with pytest.raises(JobError) as caught:
            harness.preparation.stacks.pin("pin", (lora,), loaded)
    assert caught.value.failure.reason == "PINS_TOO_LARGE"
