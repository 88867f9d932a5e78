"""The denoising batch: what goes wrong with one job stays with that job."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lorakit.adapter import Adapter, LoraWeights, save_kohya
from lorakit.families import sd15
from lorakit.families.naming import UNET
from services.inference.domain import Sampler
from services.inference.domain_jobs import (
    BaseRef,
    EngineEvent,
    ImageJob,
    LoraFile,
    Progress,
    RawPicture,
    Started,
)
from services.inference.engine.bases import Bases
from services.inference.engine.batch import DenoisingBatch
from services.inference.engine.bucket import Bucket
from services.inference.engine.preparation import Preparation
from services.inference.engine.stacks import Stacks
from services.inference.engine.texts import Texts
from services.inference.engine_messages import Failure
from tests.fixtures.tiny_loras import random_adapter, write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline


class Harness:
    """A batch in this process, and all that it says."""

    def __init__(self, directory: Path, digest: str, max_rows: int = 4) -> None:
        self.directory, self.digest = directory, digest
        self.events: dict[str, list[EngineEvent]] = {}
        self.ends: dict[str, Failure | None] = {}
        self.preparation = Preparation(
            Bases(torch.device("cpu"), torch.float32, 1), Stacks(32 << 20), Texts(8 << 20)
        )
        self.batch = DenoisingBatch(
            self.preparation,
            max_rows,
            lambda job_id, event: self.events.setdefault(job_id, []).append(event),
            self.ends.__setitem__,
        )

    def job(self, job_id: str, **changes: Any) -> ImageJob:
        job = ImageJob(
            job_id=job_id,
            brand="acme",
            base=BaseRef(name="tiny", source=str(self.directory), sha256=self.digest),
            prompt="a fox",
            negative_prompt="",
            loras=(),
            steps=2,
            guidance=5.0,
            sampler=Sampler.EULER,
            karras=None,
            seed=1,
            width=0,
            height=0,
            count=1,
            clip_skip=0,
        )
        return replace(job, **changes)

    def run(self, *jobs: ImageJob) -> None:
        for job in jobs:
            self.batch.submit(job)
        while self.batch.has_work:
            self.batch.step()

    def pictures(self, job_id: str) -> list[RawPicture]:
        return [event for event in self.events.get(job_id, []) if isinstance(event, RawPicture)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("batch") / "tiny")


@pytest.fixture(scope="module")
def base(directory: Path) -> sd15.BaseModel:
    return sd15.load_base(directory)


@pytest.fixture
def harness(directory: Path, base: sd15.BaseModel) -> Harness:
    return Harness(directory, base.sha256)


def lora_file(path: Path, weight: float = 1.0) -> LoraFile:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LoraFile(
        reference=path.stem, sha256=digest, path=str(path), text_encoder_weight=weight, weight=weight
    )


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


def test_kernels_that_cannot_be_stacked_are_refused_by_name(
    harness: Harness, base: sd15.BaseModel, tmp_path: Path
) -> None:
    path = tmp_path / "locon.safetensors"
    weights = LoraWeights(torch.ones(2, 4, 3, 3), torch.ones(32, 2, 1, 1), 2.0)
    save_kohya(Adapter({UNET: {"conv_in": weights}}, "sd15"), path, {"ss_network_module": "lycoris"})
    harness.run(harness.job("a", loras=(lora_file(path),)))
    failure = harness.ends["a"]
    assert failure is not None
    assert failure.reason == "LORA_KIND_UNSUPPORTED"
    assert "conv_in" in failure.message


def test_numbers_that_are_not_finite_stay_with_their_job(
    harness: Harness, base: sd15.BaseModel, tmp_path: Path
) -> None:
    adapter = random_adapter(base, seed=1, size=1e18, components=(UNET,))
    path = tmp_path / "wild.safetensors"
    save_kohya(adapter, path, {}, dtype=torch.float32)
    harness.run(harness.job("wild", loras=(lora_file(path, 10.0),)), harness.job("calm", seed=3))
    alone = Harness(harness.directory, harness.digest)
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
            raise RuntimeError("out of memory\nand a long trace")
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
    assert not harness.batch.has_work
    assert harness.batch.active_rows == 0


def test_files_and_texts_are_kept(harness: Harness, base: sd15.BaseModel, tmp_path: Path) -> None:
    lora = lora_file(write_lora(base, tmp_path / "hero.safetensors", seed=1))
    harness.run(harness.job("a", loras=(lora,)), harness.job("b", loras=(lora,)))
    files, texts = harness.preparation.stacks.files, harness.preparation.texts.cache
    assert (files.misses, files.hits) == (1, 1)
    assert (texts.misses, texts.hits) == (2, 2)
    # Another weight of the UNet alone needs no new embedding; one of the text encoder does.
    harness.run(harness.job("c", loras=(replace(lora, weight=0.5),)))
    assert texts.misses == 2
    harness.run(harness.job("d", loras=(replace(lora, text_encoder_weight=0.5),)))
    assert texts.misses == 4


def test_nothing_is_kept_beyond_the_budget(directory: Path, base: sd15.BaseModel, tmp_path: Path) -> None:
    harness = Harness(directory, base.sha256)
    harness.preparation.stacks.files.budget_bytes = 1
    lora = lora_file(write_lora(base, tmp_path / "hero.safetensors", seed=1))
    harness.run(harness.job("a", loras=(lora,)), harness.job("b", loras=(lora,)))
    assert harness.ends == {"a": None, "b": None}
    assert harness.preparation.stacks.files.used_bytes == 0
