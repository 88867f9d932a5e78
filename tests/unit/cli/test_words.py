"""How values and jobs are shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from brandloom import (
    ApiError,
    ErrorEvent,
    Failure,
    GeneratedImage,
    JobState,
    NoticeEvent,
    ProgressEvent,
    StateEvent,
    TrainingJob,
    TrainingProgress,
    VersionEvent,
    errors,
)
from brandloom._convert.fields import from_proto
from brandloom.api.trainer.v1 import resources_pb2
from brandloom.cli.exit_codes import exit_status
from brandloom.cli.failures import describe, document
from brandloom.cli.job_board import JobBoard, event_line
from brandloom.cli.plain import plain, size, span

NOW = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)


def a_job(name: str = "brands/acme/trainingJobs/1", lora: str = "brands/acme/loras/hero") -> TrainingJob:
    return from_proto(TrainingJob, resources_pb2.TrainingJob(name=name, spec={"lora": lora}, state=1))


def some_progress(step: int) -> TrainingProgress:
    return TrainingProgress(
        step=step,
        total_steps=10,
        epoch=1,
        loss=0.5,
        smoothed_loss=0.25,
        learning_rate=1e-4,
        images_per_second=8.0,
        time_left=timedelta(seconds=75),
        pack_size=3,
    )


def test_resources_become_plain_json() -> None:
    image = GeneratedImage(index=0, png=b"...", width=8, height=8, seed=1, sha256="ab")
    assert "png" not in plain(image)
    assert plain({"when": NOW, "long": timedelta(seconds=1.5), "state": JobState.RUNNING, "none": None}) == {
        "when": "2026-11-03T04:05:06+00:00",
        "long": 1.5,
        "state": "RUNNING",
        "none": None,
    }
    assert json.loads(json.dumps(plain(a_job())))["spec"]["adapter"]["rank"] is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3_400_000, "3.4 MB"), (5 * 10**13, "50.0 TB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_spans() -> None:
    assert [span(timedelta(seconds=seconds)) for seconds in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]
    assert span(None) == ""


def test_the_board_shows_the_newest_state_of_each_job() -> None:
    board = JobBoard()
    hero, city = a_job(), a_job("brands/acme/trainingJobs/2", "brands/acme/loras/city")
    board.add(hero)
    board.add(city)
    board.apply(hero.name, StateEvent(sequence=1, time=NOW, state=JobState.RUNNING))
    board.apply(hero.name, ProgressEvent(sequence=2, time=NOW, progress=some_progress(4)))
    board.apply(city.name, NoticeEvent(sequence=1, time=NOW, notice="caching latents"))
    console = Console(file=io.StringIO(), width=140)
    console.print(board)
    hero_line, city_line = console.file.getvalue().splitlines()[2:4]  # type: ignore[attr-defined]
    for part in ("hero", "acme", "running", "4/10", "0.2500", "8.0", "1:15"):
        assert part in hero_line
    assert "caching latents" in city_line
    assert not board.ended
    for job in (hero, city):
        board.apply(job.name, StateEvent(sequence=9, time=NOW, state=JobState.SUCCEEDED))
    assert board.ended


def test_events_in_words() -> None:
    job = a_job()
    assert event_line(job, StateEvent(sequence=1, time=NOW, state=JobState.QUEUED)) == "acme/hero: queued"
    line = event_line(job, ProgressEvent(sequence=1, time=NOW, progress=some_progress(4)))
    assert line == "acme/hero: step 4 of 10, loss 0.2500, 8.0 images/s, 1:15 left"
    evaluated = replace(some_progress(4), validation_loss=0.125)
    line = event_line(job, ProgressEvent(sequence=1, time=NOW, progress=evaluated))
    assert line == "acme/hero: step 4 of 10, loss 0.2500, validation loss 0.1250, 8.0 images/s, 1:15 left"
    packed = replace(some_progress(4), pack_images_per_second=24.0, device_memory_bytes=1_500_000_000)
    line = event_line(job, ProgressEvent(sequence=1, time=NOW, progress=packed))
    assert line.endswith("8.0 images/s, 24.0 in the pack of 3, 1.5 GB of memory, 1:15 left")
    error = ErrorEvent(sequence=1, time=NOW, error=Failure(reason="WORKER_DIED", message="the worker died"))
    assert event_line(job, error) == "acme/hero: the worker died (WORKER_DIED)"
    version = VersionEvent(sequence=1, time=NOW, lora_version="brands/acme/loras/hero/versions/1")
    assert event_line(job, version).endswith("registered brands/acme/loras/hero/versions/1")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ServerError("x"), 1),
        (errors.DataLoss("x"), 1),
        (errors.JobFailed(a_job()), 1),
        (errors.CorruptDownload("x"), 1),
        (errors.InvalidArgument("x"), 2),
        (errors.ConfigurationError("x"), 2),
        (errors.NotFound("x"), 3),
        (errors.PermissionDenied("x"), 4),
        (errors.Unauthenticated("x"), 4),
        (errors.Unavailable("x"), 5),
        (errors.ResourceExhausted("x"), 5),
        (errors.AlreadyExists("x"), 6),
        (errors.Aborted("x"), 6),
    ],
)
def test_every_error_has_its_exit_status(error: errors.BrandloomError, status: int) -> None:
    assert exit_status(error) == status


def test_an_error_names_fields_reason_and_when_to_try_again() -> None:
    error = errors.InvalidArgument(
        "2 fields",
        reason="BAD_SPEC",
        violations=[errors.FieldViolation("spec.adapter.rank", "must be at most 512")],
        request_id="r1",
        retry_after_seconds=2.0,
        method="CreateTrainingJob",
    )
    assert describe(error).splitlines() == [
        "Error: the request is not valid",
        "  spec.adapter.rank: must be at most 512",
        "  (reason BAD_SPEC, call CreateTrainingJob, request r1, try again in 2 s)",
    ]
    assert json.loads(document(error))["error"] == {
        "kind": "InvalidArgument",
        "message": "2 fields",
        "reason": "BAD_SPEC",
        "metadata": {},
        "violations": [{"field": "spec.adapter.rank", "description": "must be at most 512"}],
        "retry_after_seconds": 2.0,
        "method": "CreateTrainingJob",
        "request_id": "r1",
    }
    assert describe(ApiError("broken", reason="INTERNAL")) == "Error: broken\n  (reason INTERNAL)"
