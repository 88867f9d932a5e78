"""Checks messages against the protovalidate rules that their .proto files carry."""

from __future__ import annotations

import json

import protovalidate
from google.protobuf.message import Message

from servicekit.errors import FieldViolation, InvalidArgument


def validate_message(message: Message) -> None:
    """InvalidArgument with every violation and its field path; a message type without rules passes."""
    violations = protovalidate.collect_violations(message)
    if violations:
        raise InvalidArgument([_field_violation(violation) for violation in violations])


def _field_violation(violation: protovalidate.Violation) -> FieldViolation:
    proto = violation.proto
    return FieldViolation(_path(proto.field), proto.message or proto.rule_id or "is not valid")


def _path(field: protovalidate.FieldPathPb | None) -> str:
    """`images[3].labels["env"]`; empty for a rule about the message as a whole."""
    if field is None:
        return ""
    text = ""
    for element in field.elements:
        text += f".{element.field_name}" if text else element.field_name
        if element.subscript is not None:
            text += f"[{json.dumps(element.subscript.value)}]"
    return text
