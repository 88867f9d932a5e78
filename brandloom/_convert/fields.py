"""Messages and dataclasses of the same shape, field by field, by one rule for each kind of annotation.

| annotation              | proto field                     |
|---|---|
| str, int, float, bool, bytes | scalar                     |
| StrEnum                 | enum, value names without the enum's prefix |
| datetime, timedelta     | Timestamp (as UTC), Duration    |
| dataclass               | message                         |
| tuple[T, ...]           | repeated T                      |
| Mapping[str, T]         | map                             |
| T or None               | T; None is "not set", or 0 where the field cannot tell |

A dataclass field is named as the proto field, unless its metadata says `proto`.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_proto(kind: type[T], message: Message) -> T:
    """The message as an instance of the dataclass `kind`."""
    readers = _readers(kind, type(message))  # type: ignore[arg-type]
    values = {attribute: read(message) for attribute, read in readers}
    return kind(**values)


def to_proto(value: Any, kind: type[M]) -> M:
    """The dataclass instance as a message of `kind`; fields that are None stay unset."""
    message = kind()
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if item is not None:
            _write(message, message.DESCRIPTOR.fields_by_name[proto_name(field)], item)
    return message


def proto_name(field: dataclasses.Field[Any]) -> str:
    """Name of the proto field that a dataclass field stands for."""
    return str(field.metadata.get("proto", field.name))


def enum_from_number(kind: type[StrEnum], descriptor: Any, number: int) -> Any:
    """The member for an enum number; UNSPECIFIED for numbers that a newer service may send."""
    known = descriptor.values_by_number.get(number)
    name = known.name.removeprefix(_prefix(descriptor)) if known else "UNSPECIFIED"
    return kind(name) if name in kind.__members__ else kind("UNSPECIFIED")


def enum_to_number(descriptor: Any, value: StrEnum) -> Any:
    """The enum number of a member, as message constructors take it."""
    return descriptor.values_by_name[_prefix(descriptor) + value.value].number


def _prefix(descriptor: Any) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", descriptor.name).upper() + "_"


@lru_cache(maxsize=256)
def _readers(kind: type[Any], message_kind: type[Message]) -> list[tuple[str, Callable[[Message], Any]]]:
    hints = typing.get_type_hints(kind)
    descriptors = message_kind.DESCRIPTOR.fields_by_name
    return [
        (field.name, _reader(hints[field.name], descriptors[proto_name(field)]))
        for field in dataclasses.fields(kind)
    ]


def _reader(annotation: Any, descriptor: Any) -> Callable[[Message], Any]:
    name = descriptor.name
    item, optional = _without_none(annotation)
    origin = typing.get_origin(item)
    if origin is tuple:
        read_item = _item_reader(typing.get_args(item)[0], descriptor)
        return lambda message: tuple(read_item(entry) for entry in getattr(message, name))
    if origin is not None and issubclass(origin, Mapping):
        return lambda message: dict(getattr(message, name))
    read = _item_reader(item, descriptor)
    if not optional:
        return lambda message: read(getattr(message, name))
    if descriptor.has_presence:
        return lambda message: read(getattr(message, name)) if message.HasField(name) else None
    return lambda message: read(getattr(message, name)) or None


def _item_reader(item: Any, descriptor: Any) -> Callable[[Any], Any]:
    if item is datetime:
        return lambda stamp: _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
    if item is timedelta:
        return lambda duration: timedelta(seconds=duration.seconds, microseconds=duration.nanos / 1000)
    if isinstance(item, type) and dataclasses.is_dataclass(item):
        return lambda message: from_proto(item, message)
    if issubclass(item, StrEnum):
        return lambda number: enum_from_number(item, descriptor.enum_type, number)
    return lambda value: value


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        arguments = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
        if len(arguments) != 1:
            raise TypeError(f"{annotation} stands for no one kind of proto field")
        return arguments[0], True
    return annotation, False


def _write(message: Message, descriptor: Any, value: Any) -> None:
    target = getattr(message, descriptor.name)
    if isinstance(value, tuple):
        target.extend(_written(descriptor, entry) for entry in value)
    elif isinstance(value, Mapping):
        target.update(value)
    elif isinstance(value, datetime):
        target.FromDatetime(value)
    elif isinstance(value, timedelta):
        target.FromTimedelta(value)
    elif dataclasses.is_dataclass(value):
        target.CopyFrom(_written(descriptor, value))
    else:
        setattr(message, descriptor.name, _written(descriptor, value))


def _written(descriptor: Any, value: Any) -> Any:
    if isinstance(value, StrEnum):
        return enum_to_number(descriptor.enum_type, value)
    if dataclasses.is_dataclass(value):
        return to_proto(value, descriptor.message_type._concrete_class)
    return value
