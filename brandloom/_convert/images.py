"""Requests for pictures."""

from __future__ import annotations

from typing import Any, Final, Unpack

from brandloom import _arguments, _names
from brandloom._convert.fields import enum_to_number, to_proto
from brandloom._stack_text import parse_stack_entry
from brandloom.api.inference.v1 import inference_pb2
from brandloom.types.image_settings import ImageSettings, Stack
from brandloom.types.inference import Box, Mask, StackEntry
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
    checked = _arguments.settings(ImageSettings, settings)
    fields: dict[str, Any] = {name: value for name, value in checked.items() if value is not None}
    if "stack" in fields:
        fields["stack"] = stack_entries(fields["stack"])
    if fields.get("base_model"):
        fields["base_model"] = _names.base_model(fields["base_model"])
    if "initial_image" in fields:
        fields["initial_image"] = to_proto(fields["initial_image"], inference_pb2.InitialImage)
    for name, descriptor in _ENUMS.items():
        if name in fields:
            fields[name] = enum_to_number(descriptor, fields[name])
    return inference_pb2.GenerateImagesRequest(
        parent=_names.brand(brand), prompt=_arguments.argument("prompt", str, prompt), **fields
    )


def stack_entries(stack: Stack) -> list[inference_pb2.StackEntry]:
    """The entries as messages; a text is read as `parse_stack_entry` does. Raises TypeError."""
    entries = _arguments.argument("stack", Stack, stack)
    return [_entry(parse_stack_entry(entry) if isinstance(entry, str) else entry) for entry in entries]


def _entry(entry: StackEntry) -> inference_pb2.StackEntry:
    message = inference_pb2.StackEntry(
        reference=entry.reference, weight=entry.weight, text_encoder_weight=entry.text_encoder_weight
    )
    if entry.window is not None:
        message.window.CopyFrom(to_proto(entry.window, inference_pb2.StepWindow))
    if isinstance(entry.region, Box):
        message.region.box.CopyFrom(to_proto(entry.region, inference_pb2.Box))
    elif isinstance(entry.region, Mask):
        message.region.mask_png = entry.region.png
    return message
