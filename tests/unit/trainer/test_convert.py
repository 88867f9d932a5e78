from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from brandloom.api.trainer.v1 import resources_pb2 as pb
from servicekit.errors import InvalidArgument
from services.trainer.convert import (
    event_to_proto,
    job_to_proto,
    payload_from_proto,
    payload_to_proto,
    point_from_proto,
    point_to_proto,
)
from services.trainer.convert_spec import draft_from_proto, spec_from_proto, spec_to_proto
from services.trainer.events import (
    ArtifactKind,
    Event,
    Failure,
    JobArtifact,
    JobState,
    MetricPoint,
    Notice,
    Payload,
    Progress,
    VersionRegistered,
)
from services.trainer.job_codec import plain, read_spec
from services.trainer.placement import Placement, Standing
from services.trainer.ports import JobRecord
from services.trainer.sources import Blob
from services.trainer.spec import Optimizer, Precision, Schedule, Target
from tests.fixtures.trainer_jobs import NOW, PARENT, draft, job, spec

PROGRESS = Progress(
    step=4,
    total_steps=300,
    epoch=1,
    loss=0.25,
    smoothed_loss=0.5,
    learning_rate=1e-4,
    images_per_second=12.0,
    seconds_left=9.5,
    pack_size=2,
    pack_images_per_second=24.0,
    device_memory_bytes=3 << 30,
)
ARTIFACTS = [
    JobArtifact(
        kind=kind, file_name=f"{kind}.bin", blob=Blob("a" * 64, 7), media_type="x/y", step=4, prompt="p"
    )
    for kind in ArtifactKind
]
PAYLOADS: list[Payload] = [
    *JobState,
    PROGRESS,
    replace(PROGRESS, seconds_left=None),
    replace(PROGRESS, validation_loss=0.0),
    *ARTIFACTS,
    Failure("REASON", "why"),
    Notice("text"),
    VersionRegistered("brands/acme/loras/hero/versions/1"),
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=str)
def test_events_survive_the_way_there_and_back(payload: Payload) -> None:
    assert payload_from_proto(payload_to_proto(payload)) == payload


def test_an_event_carries_its_number_and_time() -> None:
    message = event_to_proto(Event(3, NOW, Notice("n")))
    assert (message.sequence, message.time.ToDatetime(tzinfo=NOW.tzinfo)) == (3, NOW)


@pytest.mark.parametrize(
    "message", [pb.TrainingEvent(), pb.TrainingEvent(state=0), pb.TrainingEvent(artifact={})]
)
def test_events_that_say_nothing_are_refused(message: pb.TrainingEvent) -> None:
    with pytest.raises(InvalidArgument):
        payload_from_proto(message)


def test_points_survive() -> None:
    point = MetricPoint(
        step=3,
        time=NOW + timedelta(microseconds=5),
        loss=0.5,
        smoothed_loss=0.25,
        learning_rate=1e-4,
        images_per_second=3.0,
        pack_images_per_second=6.0,
        device_memory_bytes=5 << 30,
    )
    assert point_from_proto(point_to_proto(point)) == point
    evaluated = replace(point, validation_loss=0.75)
    assert point_from_proto(point_to_proto(evaluated)) == evaluated


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize("precision", Precision)
def test_specs_survive(schedule: Schedule, precision: Precision) -> None:
    made = spec(
        schedule=schedule,
        precision=precision,
        targets=frozenset(Target),
        parent_version=PARENT.name,
        sample_prompts=("a", "b"),
        sample_max_new_tokens=32,
        sample_temperature=0.5,
        max_steps=7,
        horizontal_flip=True,
    )
    assert spec_from_proto(spec_to_proto(made)) == made
    assert spec_from_proto(spec_to_proto(spec())) == spec()


@pytest.mark.parametrize("optimizer", Optimizer)
def test_optimizers_averages_and_evaluations_survive(optimizer: Optimizer) -> None:
    asked = {
        "optimizer": optimizer,
        "ema_decay": 0.99,
        "validation_interval_steps": 5,
        "patience": 3,
        "keep_best": True,
        "validation_max_items": 9,
    }
    made = spec(**asked)
    assert spec_from_proto(spec_to_proto(made)) == made
    assert read_spec(plain(made)) == made
    sent = draft_from_proto(spec_to_proto(made))
    assert {name: getattr(sent, name) for name in asked} == asked


def test_a_kept_spec_of_an_earlier_version_has_what_there_was_then() -> None:
    kept = plain(spec())
    del kept["validation"], kept["optimization"]["optimizer"], kept["optimization"]["ema_decay"]
    assert read_spec(kept) == spec()
    message = spec_to_proto(spec())
    message.ClearField("validation")
    message.optimization.ClearField("optimizer")
    assert spec_from_proto(message) == spec()


def test_what_a_caller_leaves_out_is_none() -> None:
    sent = pb.TrainingSpec(
        base_model="baseModels/tiny",
        dataset_revision="brands/acme/datasets/hero/revisions/3",
        lora="brands/acme/loras/hero",
    )
    assert draft_from_proto(sent) == draft()


def test_zeros_that_mean_something_are_kept() -> None:
    sent = pb.TrainingSpec(
        seed=0,
        optimization=pb.OptimizationSpec(weight_decay=0, max_gradient_norm=0),
        loss=pb.LossSpec(min_snr_gamma=0),
    )
    read = draft_from_proto(sent)
    assert (read.seed, read.weight_decay, read.max_gradient_norm, read.min_snr_gamma) == (0, 0, 0, 0)


def test_a_complete_spec_is_a_draft_of_itself() -> None:
    """What an answer shows can be sent again."""
    sent = draft_from_proto(spec_to_proto(spec(epochs=3)))
    assert (sent.rank, sent.epochs, sent.max_steps, sent.seed) == (8, 3, None, 5)


def test_a_job_shows_what_is_known_of_it() -> None:
    made = job()
    made.lease_to("w1", NOW, timedelta(minutes=1))
    made.report(PROGRESS, NOW)
    placed = Placement(standing=Standing.TRAINING, why="trains with 1 other job", companions=1)
    message = job_to_proto(JobRecord(job=made, artifacts=tuple(ARTIFACTS), placement=placed))
    assert (message.placement.standing, message.placement.companions) == (pb.Placement.STANDING_TRAINING, 1)
    assert message.placement.pack == "tiny, 512 px, auto"
    assert message.name == made.name
    assert message.worker == "w1"
    assert message.progress.time_left.ToTimedelta() == timedelta(seconds=9.5)
    assert [artifact.file_name for artifact in message.artifacts] == [file.file_name for file in ARTIFACTS]
    assert not message.HasField("end_time")
    assert not message.HasField("error")
    assert message.etag == '"3"'
