"""Where a version comes from: message to domain and back. Pure, like convert."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from brandloom.api.registry.v1 import resources_pb2
from servicekit import names
from servicekit.errors import FieldViolation
from services.registry.convert_parts import file_from_proto, file_to_proto, timestamp
from services.registry.domain import LoraOrigin, TrainingAdvice
from services.registry.domain_references import parse_version_name

VERSION: Final = "brands/{brand}/loras/{lora}/versions/{version}"
_ORIGIN_NAMES: Final = {
    "training_job": "brands/{brand}/trainingJobs/{training_job}",
    "dataset_revision": "brands/{brand}/datasets/{dataset}/revisions/{revision}",
}
_TIMES: Final = ("start_time", "end_time")


def origin_from_proto(message: resources_pb2.LoraOrigin, field: str) -> LoraOrigin:
    """What a caller says of a version's origin; call `origin_faults` first."""
    return LoraOrigin(
        training_job=message.training_job,
        dataset_revision=message.dataset_revision,
        dataset_sha256=message.dataset_sha256,
        parent_version=parse_version_name(message.parent_version),
        training_spec_json=message.training_spec_json,
        environment=dict(message.environment),
        advice=tuple(TrainingAdvice(told.code, told.field, told.message) for told in message.advice),
        preview_sheet=file_from_proto(message.preview_sheet, f"{field}.preview_sheet")
        if message.HasField("preview_sheet")
        else None,
        loss_plot=file_from_proto(message.loss_plot, f"{field}.loss_plot")
        if message.HasField("loss_plot")
        else None,
        parent_sha256=message.parent_sha256,
        prior_dataset_sha256=message.prior_dataset_sha256,
        start_time=_moment(message.start_time) if message.HasField("start_time") else None,
        end_time=_moment(message.end_time) if message.HasField("end_time") else None,
        training_seconds=message.training_seconds,
        images_per_second=message.images_per_second,
    )


def origin_to_proto(origin: LoraOrigin) -> resources_pb2.LoraOrigin:
    """The origin as callers see it; details where they were read."""
    return resources_pb2.LoraOrigin(
        training_job=origin.training_job,
        dataset_revision=origin.dataset_revision,
        dataset_sha256=origin.dataset_sha256,
        parent_version=str(origin.parent_version) if origin.parent_version else "",
        training_spec_json=origin.training_spec_json,
        environment=origin.environment,
        advice=[
            resources_pb2.TrainingAdvice(code=told.code, field=told.field, message=told.message)
            for told in origin.advice
        ],
        preview_sheet=file_to_proto(origin.preview_sheet) if origin.preview_sheet else None,
        loss_plot=file_to_proto(origin.loss_plot) if origin.loss_plot else None,
        parent_sha256=origin.parent_sha256,
        prior_dataset_sha256=origin.prior_dataset_sha256,
        start_time=timestamp(origin.start_time) if origin.start_time else None,
        end_time=timestamp(origin.end_time) if origin.end_time else None,
        training_seconds=origin.training_seconds,
        images_per_second=origin.images_per_second,
    )


def origin_faults(origin: resources_pb2.LoraOrigin, field: str) -> Iterable[FieldViolation]:
    """What makes no sense in it."""
    for part, pattern in _ORIGIN_NAMES.items():
        value = getattr(origin, part)
        if value and not names.matches(pattern, value):
            yield FieldViolation(f"{field}.{part}", f"must look like {pattern}, not {value[:200]!r}")
    parent = parse_version_name(origin.parent_version)
    if origin.parent_version and (parent is None or parent.number is None):
        yield FieldViolation(f"{field}.parent_version", f"must look like {VERSION}, with a number at the end")
    try:
        json.loads(origin.training_spec_json or "{}")
    except (ValueError, RecursionError):
        yield FieldViolation(f"{field}.training_spec_json", "is not JSON")
    for part in _TIMES:
        try:
            _moment(getattr(origin, part))
        except (ValueError, OverflowError):
            yield FieldViolation(f"{field}.{part}", "is no time from the year 1 to 9999")


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
