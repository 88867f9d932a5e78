"""A version with what made it, and the command that makes the same again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.json_format import MessageToJson

from brandloom import LoraVersion, SpecCheck, TrainingJob, TrainingSpec
from brandloom._convert.fields import from_proto
from brandloom._replica import replica, spec_of_version
from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.registry.v1 import resources_pb2 as registry_pb2
from brandloom.api.trainer.v1 import resources_pb2
from brandloom.cli.main import cli
from brandloom.cli.session import Session
from brandloom.errors import InvalidArgument

SPEC = resources_pb2.TrainingSpec(
    lora="brands/acme/loras/hero", dataset_revision="brands/acme/datasets/set/revisions/3", seed=0
)
SPEC.optimization.learning_rate = 3e-4


def run(client: SimpleNamespace, *arguments: str) -> Result:
    session: Any = Session()
    session.client = client
    return CliRunner().invoke(cli, arguments, obj=session)


def a_version(spec_json: str | None = None) -> LoraVersion:
    origin = registry_pb2.LoraOrigin(
        training_job="brands/acme/trainingJobs/1",
        training_spec_json=MessageToJson(SPEC) if spec_json is None else spec_json,
        environment={"torch": "2.9.0", "device_name": "A Processor"},
        advice=[{"code": "X", "field": "seed", "message": "draw another"}],
        preview_sheet=artifact_pb2.Artifact(sha256="ab" * 32, size_bytes=2000),
        loss_plot=artifact_pb2.Artifact(sha256="cd" * 32, size_bytes=3000),
        parent_sha256="ef" * 32,
        prior_dataset_sha256="12" * 32,
        training_seconds=75,
        images_per_second=12.25,
    )
    origin.start_time.FromDatetime(datetime(2026, 5, 1, 12, tzinfo=UTC))
    origin.end_time.FromDatetime(datetime(2026, 5, 1, 12, 2, tzinfo=UTC))
    name = "brands/acme/loras/hero/versions/3"
    return from_proto(LoraVersion, registry_pb2.LoraVersion(name=name, version=3, origin=origin))


def test_everything_that_made_a_version_is_shown() -> None:
    versions = SimpleNamespace(get=lambda name: a_version())
    shown = run(SimpleNamespace(versions=versions), "versions", "get", "acme/hero@3").stdout
    found = {" ".join(line.split()) for line in shown.splitlines()}
    for fact in (
        "environment device_name A Processor",
        "torch 2.9.0",
        "advice seed: draw another",
        "learning rate 0.0003",
        "seed 0",
        f"parent sha256 {'ef' * 32}",
        f"prior sha256 {'12' * 32}",
    ):
        assert any(fact in line for line in found), f"{fact} is not in\n{shown}"
    assert "sheet abababababab (2.0 kB)" in shown
    assert "1:15 of it in steps, 12.2 images/s" in shown


def test_the_spec_of_a_newer_trainer_is_shown_as_it_is() -> None:
    strange = '{"warpDrive": true}'
    versions = SimpleNamespace(get=lambda name: a_version(strange))
    assert strange in run(SimpleNamespace(versions=versions), "versions", "get", "acme/hero@3").stdout
    with pytest.raises(InvalidArgument, match=r"cannot be read.*warpDrive"):
        spec_of_version(a_version(strange))
    with pytest.raises(InvalidArgument, match="was not trained here"):
        spec_of_version(a_version(""))


def test_a_replica_is_the_same_but_for_what_is_asked() -> None:
    spec = spec_of_version(a_version())
    assert spec == from_proto(TrainingSpec, SPEC)
    assert replica(spec, lora="", seed=None) == spec
    other = replica(spec, lora="brands/acme/loras/twin", seed=5)
    assert other == replace(spec, lora="brands/acme/loras/twin", seed=5)
    with pytest.raises(InvalidArgument, match="must be one of brands/acme"):
        replica(spec, lora="brands/globex/loras/hero", seed=None)


def test_replicate_asks_for_the_same_job_or_only_shows_it() -> None:
    asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def noted(name: str, answer: Any) -> Any:
        def call(*values: Any, **options: Any) -> Any:
            asked.append((name, values, options))
            return answer

        return call

    spec = from_proto(TrainingSpec, SPEC)
    job = from_proto(TrainingJob, resources_pb2.TrainingJob(name="brands/acme/trainingJobs/2", spec=SPEC))
    training = SimpleNamespace(
        spec_of=noted("spec_of", spec),
        validate=noted("validate", SpecCheck(spec=spec, advice=(), total_steps=8)),
        replicate=noted("replicate", job),
    )
    client = SimpleNamespace(training=training)
    dry = run(client, "jobs", "replicate", "acme/hero@3", "--dry-run", "--seed", "0")
    assert "learning rate" in dry.stdout
    assert asked == [
        ("spec_of", ("acme/hero@3",), {"lora": "", "seed": 0}),
        ("validate", (spec,), {}),
    ]
    asked.clear()
    made = run(client, "jobs", "replicate", "acme/1", "--lora", "acme/twin", "--display-name", "again")
    assert "brands/acme/trainingJobs/2" in made.stdout
    options = {"lora": "acme/twin", "seed": None, "display_name": "again", "priority": 0}
    assert asked == [("replicate", ("acme/1",), options)]


def test_previews_are_saved_and_named(tmp_path: Path) -> None:
    files = (tmp_path / "hero-v3-preview-sheet.png", tmp_path / "hero-v3-loss-plot.png")
    versions = SimpleNamespace(download_previews=lambda version, folder: files)
    done = run(
        SimpleNamespace(versions=versions), "versions", "download", "acme/hero@3", str(tmp_path), "--previews"
    )
    assert all(str(path) in done.stdout for path in files)
