"""The spec of what was trained before, to train the same again."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.json_format import Parse, ParseError

from brandloom._convert.fields import from_proto
from brandloom.api.trainer.v1 import resources_pb2
from brandloom.errors import FieldViolation, InvalidArgument
from brandloom.types.registry import LoraVersion
from brandloom.types.training_spec import TrainingSpec


def spec_of_version(version: LoraVersion) -> TrainingSpec:
    """The spec that a version was trained with, as its origin keeps it.

    InvalidArgument when the version was not trained here, or by a trainer newer than this client.
    """
    text = version.origin.training_spec_json
    if not text:
        raise _invalid("source", f"{version.name} was not trained here: it has no training spec")
    try:
        message = Parse(text, resources_pb2.TrainingSpec())
    except ParseError as error:
        raise _invalid("source", f"the training spec of {version.name} cannot be read: {error}") from error
    return from_proto(TrainingSpec, message)


def replica(spec: TrainingSpec, *, lora: str, seed: int | None) -> TrainingSpec:
    """The spec with another LoRA (empty: the same) or another seed (None: the same).

    InvalidArgument for a LoRA of another brand: what a brand has learned from stays with the brand.
    """
    brand = spec.lora.partition("/loras/")[0]
    wanted = lora or spec.lora
    if wanted.partition("/loras/")[0] != brand:
        raise _invalid("lora", f"must be one of {brand}, as what is repeated, not {wanted}")
    return replace(spec, lora=wanted, seed=spec.seed if seed is None else seed)


def _invalid(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(
        f"{field}: {description}",
        reason="NOT_REPEATABLE",
        violations=[FieldViolation(field, description)],
    )
