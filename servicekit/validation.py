"""Checks messages against the protovalidate rules that their .proto files carry."""

from __future__ import annotations

import json
from typing import Final

import protovalidate
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from servicekit.errors import FieldViolation, InvalidArgument
from servicekit.pattern_words import in_words

_PATTERN_RULE: Final = "string.pattern"
_SHOWN_CHARACTERS: Final = 100


def validate_message(message: Message) -> None:
    """InvalidArgument with every violation and its field path; a message type without rules passes.

    Of the resource in an update, only what the update writes is judged: the fields of its mask, for an empty
    mask those that are set.
    """
    violations = [one for one in protovalidate.collect_violations(message) if _is_judged(message, one)]
    if violations:
        raise InvalidArgument([_field_violation(violation) for violation in violations])


def _is_judged(message: Message, violation: protovalidate.Violation) -> bool:
    mask = getattr(message, "update_mask", None)
    elements = violation.proto.field.elements if violation.proto.field is not None else ()
    if not isinstance(mask, FieldMask) or len(elements) < 2:
        return True
    resource = getattr(message, elements[0].field_name)
    written = set(mask.paths) or {field.name for field, _ in resource.ListFields()}
    return "*" in written or elements[1].field_name in written


def _field_violation(violation: protovalidate.Violation) -> FieldViolation:
    proto = violation.proto
    return FieldViolation(_path(proto.field), _described(violation) or proto.rule_id or "is not valid")


def _described(violation: protovalidate.Violation) -> str:
    if violation.proto.rule_id == _PATTERN_RULE and (words := in_words(violation.rule_value)):
        return f"{words}; not {violation.field_value[:_SHOWN_CHARACTERS]!r}"
    return violation.proto.message


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
