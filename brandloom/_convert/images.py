"""Requests for pictures."""

from __future__ import annotations

from typing import Final, Unpack

from brandloom._convert.fields import enum_to_number, to_proto
from brandloom._convert.stacks import request_fields
from brandloom.api.inference.v1 import inference_pb2
from brandloom.types.image_settings import ImageSettings
from brandloom.types.registry import Brand

_ENUMS: Final = {
    "sampler": inference_pb2.Sampler.DESCRIPTOR,
    "sigma_schedule": inference_pb2.SigmaSchedule.DESCRIPTOR,
    "composition": inference_pb2.Composition.DESCRIPTOR,
}


def image_request(
    brand: str | Brand, prompt: str, **settings: Unpack[ImageSettings]
) -> inference_pb2.GenerateImagesRequest:
    """The request; settings that are None stay unset. Raises TypeError, ValueError."""
    fields = request_fields(brand, prompt, ImageSettings, settings)
    if "initial_image" in fields:
        fields["initial_image"] = to_proto(fields["initial_image"], inference_pb2.InitialImage)
    for name, descriptor in _ENUMS.items():
        if name in fields:
            fields[name] = enum_to_number(descriptor, fields[name])
    return inference_pb2.GenerateImagesRequest(**fields)
