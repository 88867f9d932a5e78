"""Messages and the client's types say the same."""

from __future__ import annotations

import dataclasses
import typing
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest

from brandloom._convert.completions import completion_event, text_request
from brandloom._convert.events import generation_event, label_event, sweep_event, training_event
from brandloom._convert.fields import from_proto, proto_name, to_proto
from brandloom.api.common.v1 import artifact_pb2, family_pb2, job_pb2
from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.labeler.v1 import labeler_pb2
from brandloom.api.labeler.v1 import resources_pb2 as labeler_resources
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.registry.v1 import resources_pb2 as registry_resources
from brandloom.api.trainer.v1 import resources_pb2 as trainer_resources
from brandloom.api.trainer.v1 import trainer_pb2
from brandloom.types import common, completions, events, inference, labeler, registry, training, training_spec

PAIRS: list[tuple[type[Any], Any]] = [
    (common.Artifact, artifact_pb2.Artifact),
    (common.Failure, job_pb2.Failure),
    (registry.Brand, registry_resources.Brand),
    (registry.BaseModel, registry_resources.BaseModel),
    (registry.Lora, registry_resources.Lora),
    (registry.ModuleRank, registry_resources.ModuleRank),
    (common.Advice, registry_resources.TrainingAdvice),
    (registry.LoraOrigin, registry_resources.LoraOrigin),
    (registry.LoraVersion, registry_resources.LoraVersion),
    (registry.DownloadUrl, registry_pb2.GetDownloadUrlResponse),
    (registry.ResolvedLora, registry_pb2.ResolvedLora),
    (registry.ResolvedStack, registry_pb2.ResolveStackResponse),
    (registry.LineageNode, registry_pb2.LineageNode),
    (registry.LineageEdge, registry_pb2.LineageEdge),
    (registry.Lineage, registry_pb2.GetLineageResponse),
    (registry.Change, registry_pb2.Change),
    (labeler.Dataset, labeler_resources.Dataset),
    (labeler.Image, labeler_resources.Image),
    (labeler.Text, labeler_resources.Text),
    (labeler.TextMessage, labeler_resources.TextMessage),
    (labeler.TextUpload, labeler_pb2.UploadTextsResponse),
    (labeler.DatasetRevision, labeler_resources.DatasetRevision),
    (labeler.UploadResult, labeler_pb2.UploadResult),
    (labeler.UploadReport, labeler_pb2.UploadImagesResponse),
    (labeler.CaptionImport, labeler_pb2.ImportCaptionsResponse),
    (labeler.CaptionEdit, labeler_pb2.BatchUpdateCaptionsResponse),
    (labeler.LabelProgress, labeler_resources.LabelProgress),
    (labeler.LabelJob, labeler_resources.LabelJob),
    (labeler.LabeledImage, labeler_resources.LabeledImage),
    (training_spec.AdapterSpec, trainer_resources.AdapterSpec),
    (training_spec.OptimizationSpec, trainer_resources.OptimizationSpec),
    (training_spec.LossSpec, trainer_resources.LossSpec),
    (training_spec.SampleSpec, trainer_resources.SampleSpec),
    (training_spec.ValidationSpec, trainer_resources.ValidationSpec),
    (training_spec.TrainingSpec, trainer_resources.TrainingSpec),
    (common.Advice, trainer_resources.Advice),
    (training.TrainingProgress, trainer_resources.TrainingProgress),
    (training.JobArtifact, trainer_resources.JobArtifact),
    (training.TrainingJob, trainer_resources.TrainingJob),
    (training.SpecCheck, trainer_pb2.ValidateTrainingSpecResponse),
    (training.MetricPoint, trainer_resources.MetricPoint),
    (inference.StepWindow, inference_pb2.StepWindow),
    (inference.Box, inference_pb2.Box),
    (inference.InitialImage, inference_pb2.InitialImage),
    (inference.Preview, inference_pb2.Preview),
    (inference.PinnedStack, inference_pb2.PinnedStack),
    (inference.Pin, inference_pb2.PinStackResponse),
    (inference.UsedLora, inference_pb2.UsedLora),
    (inference.Queued, inference_pb2.Queued),
    (inference.GenerationProgress, inference_pb2.GenerationProgress),
    (inference.GeneratedImage, inference_pb2.GeneratedImage),
    (inference.SweepCell, inference_pb2.SweepCell),
    (completions.TextFinished, inference_pb2.TextFinished),
    (labeler.TextMessage, inference_pb2.ChatMessage),
    (inference.LoadedBase, inference_pb2.LoadedBase),
    (inference.CacheUsage, inference_pb2.CacheUsage),
    (inference.Capacity, inference_pb2.GetCapacityResponse),
]
ENUMS: list[tuple[type[StrEnum], Any]] = [
    (common.ModelFamily, family_pb2.ModelFamily),
    (common.JobState, job_pb2.JobState),
    (registry.LoraFormat, registry_resources.LoraFormat),
    (registry.VersionFile, registry_pb2.VersionFile),
    (labeler.ImageFlag, labeler_resources.ImageFlag),
    (labeler.CaptionSource, labeler_resources.CaptionSource),
    (training_spec.Precision, trainer_resources.Precision),
    (training_spec.AdapterTarget, trainer_resources.AdapterTarget),
    (training_spec.LearningRateSchedule, trainer_resources.LearningRateSchedule),
    (training_spec.OptimizerKind, trainer_resources.OptimizerKind),
    (inference.Sampler, inference_pb2.Sampler),
    (inference.SigmaSchedule, inference_pb2.SigmaSchedule),
    (completions.FinishReason, inference_pb2.TextFinished.Reason),
    (inference.Composition, inference_pb2.Composition),
    (inference.ExportPrecision, inference_pb2.ExportStackRequest.Precision),
]


def a_value(annotation: Any) -> Any:
    """Some value of the annotated type that differs from its default."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    plain = {str: "word", int: 7, float: 0.5, bool: True, bytes: b"bytes"}
    if annotation in plain:
        return plain[annotation]
    if type(None) in arguments:
        return a_value(arguments[0])
    if origin is tuple:
        return (a_value(arguments[0]),)
    if origin is not None:
        return {"key": a_value(arguments[1])}
    if annotation is datetime:
        return datetime(2026, 11, 3, 4, 5, 6, 789_000, tzinfo=UTC)
    if annotation is timedelta:
        return timedelta(seconds=3, milliseconds=250)
    if issubclass(annotation, StrEnum):
        return list(annotation)[-1]
    return an_instance(annotation)


def an_instance(kind: type[Any]) -> Any:
    hints = typing.get_type_hints(kind)
    values = {field.name: a_value(hints[field.name]) for field in dataclasses.fields(kind)}
    if kind is training_spec.OptimizationSpec:
        del values["epochs"]  # the other of the two lengths
    return kind(**values)


@pytest.mark.parametrize(("kind", "message"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_every_field_has_its_counterpart(kind: type[Any], message: Any) -> None:
    assert {proto_name(field) for field in dataclasses.fields(kind)} == set(message.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(("kind", "message"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_there_and_back(kind: type[Any], message: Any) -> None:
    value = an_instance(kind)
    assert from_proto(kind, message.FromString(to_proto(value, message).SerializeToString())) == value


@pytest.mark.parametrize(("kind", "message"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_an_empty_message_can_be_read(kind: type[Any], message: Any) -> None:
    assert isinstance(from_proto(kind, message()), kind)


@pytest.mark.parametrize(("kind", "enum"), ENUMS, ids=lambda item: getattr(item, "__name__", ""))
def test_enums_are_complete(kind: type[StrEnum], enum: Any) -> None:
    shortest = enum.keys()[0].removesuffix("UNSPECIFIED")
    assert [member.value for member in kind] == [key.removeprefix(shortest) for key, _ in enum.items()]


def test_unset_times_and_numbers_that_mean_the_default_are_none() -> None:
    job = from_proto(training.TrainingJob, trainer_resources.TrainingJob())
    assert (job.start_time, job.progress, job.error) == (None, None, None)
    assert job.spec.adapter.rank is None
    assert job.spec.optimization.weight_decay is None


def test_zero_is_kept_where_the_field_can_tell() -> None:
    spec = training_spec.OptimizationSpec(weight_decay=0.0)
    message = to_proto(spec, trainer_resources.OptimizationSpec)
    assert message.HasField("weight_decay")
    assert from_proto(training_spec.OptimizationSpec, message).weight_decay == 0.0


def test_a_state_of_a_newer_service_reads_as_unspecified() -> None:
    assert from_proto(training.TrainingJob, trainer_resources.TrainingJob(state=77)).state == "UNSPECIFIED"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (trainer_resources.TrainingEvent(sequence=3, state=job_pb2.JOB_STATE_RUNNING), events.StateEvent),
        (trainer_resources.TrainingEvent(progress={"step": 3}), events.ProgressEvent),
        (trainer_resources.TrainingEvent(artifact={"file_name": "a.png"}), events.ArtifactEvent),
        (trainer_resources.TrainingEvent(error={"reason": "NO"}), events.ErrorEvent),
        (trainer_resources.TrainingEvent(notice="again"), events.NoticeEvent),
        (trainer_resources.TrainingEvent(lora_version="brands/a/loras/b/versions/1"), events.VersionEvent),
    ],
)
def test_each_training_event_has_its_type(message: trainer_resources.TrainingEvent, kind: type[Any]) -> None:
    assert type(training_event(message)) is kind
    assert {field.name for field in trainer_resources.TrainingEvent.DESCRIPTOR.oneofs[0].fields} == {
        "state", "progress", "artifact", "error", "notice", "lora_version",
    }  # fmt: skip


def test_each_label_event_has_its_type() -> None:
    event = labeler_resources.LabelEvent
    assert type(label_event(event(state=job_pb2.JOB_STATE_QUEUED))) is events.StateEvent
    assert type(label_event(event(progress={"done": 1}))) is events.LabelProgressEvent
    assert type(label_event(event(labeled={"image": "i"}))) is events.LabeledEvent
    assert type(label_event(event(error={"reason": "NO"}))) is events.ErrorEvent
    assert label_event(event()) is None


def test_generation_answers_have_their_types() -> None:
    answer, sweep = inference_pb2.GenerateImagesResponse, inference_pb2.GenerateSweepResponse
    assert type(generation_event(answer(queued={"seed": 4}))) is inference.Queued
    assert type(generation_event(answer(progress={"step": 4}))) is inference.GenerationProgress
    assert type(generation_event(answer(image={"png": b"x"}))) is inference.GeneratedImage
    assert type(generation_event(answer(preview={"step": 4}))) is inference.Preview
    assert generation_event(answer()) is None
    assert type(sweep_event(sweep(cell={"image": {"png": b"x"}}))) is inference.SweepCell
    assert sweep_event(sweep(sheet_png=b"x")) == inference.SweepSheet(png=b"x")


def test_text_answers_have_their_types() -> None:
    answer = inference_pb2.GenerateTextResponse
    assert type(completion_event(answer(queued={"seed": 4}))) is inference.Queued
    assert completion_event(answer(text="Hello")) == completions.TextPiece(text="Hello")
    assert type(completion_event(answer(finished={"prompt_tokens": 4}))) is completions.TextFinished
    assert completion_event(answer()) is None


def test_settings_of_a_text_that_are_not_given_stay_unset() -> None:
    request = text_request(
        "acme", "Hi", temperature=0.0, top_p=None, json_schema={"type": "null"}, stop=["x"]
    )
    assert (request.parent, request.prompt, request.json_schema) == ("brands/acme", "Hi", '{"type": "null"}')
    assert request.HasField("temperature")
    assert not request.HasField("top_p")
    assert list(request.stop) == ["x"]
    turns = [labeler.TextMessage(role="user", content="Hi")]
    request = text_request("acme", "", messages=turns, stack=["voice"], base_model="words")
    assert [(turn.role, turn.content) for turn in request.messages] == [("user", "Hi")]
    assert (request.stack[0].reference, request.base_model) == ("voice", "baseModels/words")
