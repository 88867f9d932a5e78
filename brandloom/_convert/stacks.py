"""What requests for pictures and texts have in common: whose they are, and the stack they are made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brandloom import _arguments, _names
from brandloom._convert.fields import to_proto
from brandloom._stack_text import parse_stack_entry
from brandloom.api.inference.v1 import inference_pb2
from brandloom.types.image_settings import Stack
from brandloom.types.inference import Box, Mask, StackEntry
from brandloom.types.registry import Brand


def request_fields(brand: str | Brand, prompt: str, kind: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A request's fields: the settings of that kind that are not None, the stack and the names as messages
    have them. Raises TypeError, ValueError.
    """
    checked = _arguments.settings(kind, settings)
    fields = {name: value for name, value in checked.items() if value is not None}
    if "stack" in fields:
        fields["stack"] = stack_entries(fields["stack"])
    if fields.get("base_model"):
        fields["base_model"] = _names.base_model(fields["base_model"])
    fields["parent"] = _names.brand(brand)
    fields["prompt"] = _arguments.argument("prompt", str, prompt)
    return fields


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
