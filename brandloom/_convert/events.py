"""Messages that hold one of several things, as one type for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from brandloom._convert.fields import from_proto
from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.labeler.v1 import resources_pb2 as labeler_pb2
from brandloom.api.trainer.v1 import resources_pb2 as trainer_pb2
from brandloom.types import events, inference

_TRAINING_EVENTS: Mapping[str, type[Any]] = {
    "state": events.StateEvent,
    "progress": events.ProgressEvent,
    "artifact": events.ArtifactEvent,
    "error": events.ErrorEvent,
    "notice": events.NoticeEvent,
    "lora_version": events.VersionEvent,
}
_LABEL_EVENTS: Mapping[str, type[Any]] = {
    "state": events.StateEvent,
    "progress": events.LabelProgressEvent,
    "labeled": events.LabeledEvent,
    "error": events.ErrorEvent,
}
_GENERATION_EVENTS: Mapping[str, type[Any]] = {
    "queued": inference.Queued,
    "progress": inference.GenerationProgress,
    "image": inference.GeneratedImage,
    "preview": inference.Preview,
    "cell": inference.SweepCell,
}


def training_event(message: trainer_pb2.TrainingEvent) -> events.TrainingEvent | None:
    """The event; None for a kind that this client does not know yet."""
    event: events.TrainingEvent | None = _event(message, _TRAINING_EVENTS)
    return event


def label_event(message: labeler_pb2.LabelEvent) -> events.LabelEvent | None:
    """The event; None for a kind that this client does not know yet."""
    event: events.LabelEvent | None = _event(message, _LABEL_EVENTS)
    return event


def generation_event(message: inference_pb2.GenerateImagesResponse) -> inference.GenerationEvent | None:
    """What the stream says; None for a kind that this client does not know yet."""
    event: inference.GenerationEvent | None = _payload(message)
    return event


def sweep_event(message: inference_pb2.GenerateSweepResponse) -> inference.SweepEvent | None:
    """What the stream says; None for a kind that this client does not know yet."""
    if message.WhichOneof("message") == "sheet_png":
        return inference.SweepSheet(png=message.sheet_png)
    event: inference.SweepEvent | None = _payload(message)
    return event


def _event(message: Message, kinds: Mapping[str, type[Any]]) -> Any:
    kind = kinds.get(message.WhichOneof("event") or "")
    return from_proto(kind, message) if kind else None


def _payload(message: Message) -> Any:
    which = message.WhichOneof("message") or ""
    kind = _GENERATION_EVENTS.get(which)
    return from_proto(kind, getattr(message, which)) if kind else None
