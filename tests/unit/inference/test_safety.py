"""The safety checker flags what it is made to flag, and one that is not whole is never used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorakit.base_digest import base_digest
from services.inference.domain import Sampler
from services.inference.domain_jobs import BaseRef, ImageJob, Preview
from services.inference.engine.safety import SafetyCheckerError, load_safety_checker
from tests.fixtures.picture_engine import PictureEngine
from tests.fixtures.pictures import noise
from tests.fixtures.tiny_safety import ALIKE, ALWAYS, NEVER, save_tiny_checker
from tests.fixtures.tiny_sd import save_tiny_pipeline

CPU = torch.device("cpu")


def test_a_picture_that_is_like_the_concept_is_flagged_and_others_are_not(tmp_path: Path) -> None:
    directory = save_tiny_checker(tmp_path / "checker", threshold=ALIKE, unwanted=noise(2))
    given = [noise(1), noise(2), noise(3)]
    assert load_safety_checker(str(directory), CPU).flags(given) == [False, True, False]


@pytest.mark.parametrize(("threshold", "flagged"), [(ALWAYS, True), (NEVER, False)])
def test_the_thresholds_of_the_file_decide(tmp_path: Path, threshold: float, flagged: bool) -> None:
    directory = save_tiny_checker(tmp_path / "checker", threshold=threshold)
    assert load_safety_checker(str(directory), CPU).flags([noise(1)]) == [flagged]


def test_without_a_directory_nothing_is_flagged() -> None:
    assert load_safety_checker("", CPU).flags([noise(1), noise(2)]) == [False, False]


def test_a_checker_with_missing_tensors_is_refused(tmp_path: Path) -> None:
    directory = save_tiny_checker(tmp_path / "checker", threshold=NEVER)
    file = directory / "model.safetensors"
    tensors = load_file(file)
    del tensors["visual_projection.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(SafetyCheckerError, match=r"1 tensors are missing, such as visual_projection.weight"):
        load_safety_checker(str(directory), CPU)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    directory = save_tiny_checker(tmp_path / "checker", threshold=NEVER)
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    with pytest.raises(SafetyCheckerError, match=r"no model\.safetensors"):
        load_safety_checker(str(directory), CPU)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_broken_files_are_refused(tmp_path: Path, name: str) -> None:
    directory = save_tiny_checker(tmp_path / "checker", threshold=NEVER)
    (directory / name).write_bytes(b"\x00 broken")
    with pytest.raises(SafetyCheckerError, match="checker"):
        load_safety_checker(str(directory), CPU)


def test_a_checker_of_other_shapes_is_refused(tmp_path: Path) -> None:
    directory = save_tiny_checker(tmp_path / "checker", threshold=NEVER)
    config = json.loads((directory / "config.json").read_text())
    config["projection_dim"] += 1
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(SafetyCheckerError, match="checker"):
        load_safety_checker(str(directory), CPU)


def test_flagged_pictures_and_previews_do_not_leave_the_engine(tmp_path: Path) -> None:
    directory = save_tiny_pipeline(tmp_path / "base")
    job = ImageJob(
        job_id="job",
        brand="acme",
        base=BaseRef(name="tiny", source=str(directory), sha256=base_digest(directory)),
        prompt="a fox",
        negative_prompt="",
        loras=(),
        steps=2,
        guidance=1.0,
        sampler=Sampler.EULER,
        karras=None,
        seed=1,
        width=0,
        height=0,
        count=2,
        clip_skip=0,
        preview_every=1,
    )
    checker = save_tiny_checker(tmp_path / "checker", threshold=ALWAYS)
    with PictureEngine(safety=load_safety_checker(str(checker), CPU)) as engine:
        engine.run(job)
    assert engine.ends == {"job": None}
    assert [(picture.withheld, picture.png) for picture in engine.pictures("job")] == [(True, b"")] * 2
    assert not any(isinstance(event, Preview) for event in engine.events["job"])
