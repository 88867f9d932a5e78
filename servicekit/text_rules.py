"""What no text of a request may hold, whatever its field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from servicekit.errors import FieldViolation, InvalidArgument


def refuse_nul(message: Message) -> None:
    """InvalidArgument that names every text with a NUL character: PostgreSQL cannot store one."""
    faulty = [path for path, text in _texts(message, "") if "\0" in text]
    if faulty:
        raise InvalidArgument([FieldViolation(path, "must not contain NUL characters") for path in faulty])


def _texts(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    for descriptor, value in message.ListFields():
        yield from _values(value, f"{prefix}.{descriptor.name}" if prefix else descriptor.name)


def _values(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Message):
        yield from _texts(value, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values(item, f"{path}[{key!r}]")
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):
            yield from _values(item, f"{path}[{index}]")
