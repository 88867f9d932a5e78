"""Which brands a request is about, read from the fields that name resources (AIP-122, AIP-131 to 135).

These fields name what a method works on: `name`, `names`, `parent` and `lora` of the request, `name` of the
resource in an update (a message beside `update_mask`), and the same of a request or header that the request
carries within. What a resource refers to beyond that (a parent version, LoRAs of a stack) is for the service
that looks it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from servicekit.identity import require_brand
from servicekit.names import WILDCARD

_NAME_FIELDS: Final = frozenset({"name", "names", "parent", "lora"})
_ENVELOPES: Final = ("Request", "Header")
_MASK: Final = "update_mask"
_COLLECTION: Final = "brands"
_LONGEST_SHOWN: Final = 64
"""Longer than any id, so that what is cut off cannot become the id of a brand."""

Path = tuple[str, ...]


def require_brands(message: Message) -> None:
    """PermissionDenied unless the caller may use every brand that the request is about.

    Names that are none of a brand's resources are left to the rules of the .proto, and `brands/-` to the
    service, which answers with the caller's brands only.
    """
    for brand in brands_of(message):
        if brand != WILDCARD:
            require_brand(brand)


def brands_of(message: Message) -> Iterator[str]:
    """The id in `brands/{id}` or `brands/{id}/...` of every field that names a resource."""
    for path in name_paths(message.DESCRIPTOR):
        for name in _values(message, path):
            collection, _, rest = name.partition("/")
            if collection == _COLLECTION:
                yield rest.partition("/")[0][:_LONGEST_SHOWN]


@lru_cache(maxsize=1024)
def name_paths(descriptor: Descriptor) -> tuple[Path, ...]:
    """Where messages of that type name what they are about: `("parent",)`, `("dataset", "name")` ..."""
    paths: list[Path] = []
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING and field.name in _NAME_FIELDS:
            paths.append((field.name,))
            continue
        inner = field.message_type
        if inner is not None and inner.name.endswith(_ENVELOPES):
            paths += [(field.name, *path) for path in name_paths(inner)]
        elif inner is not None and _MASK in descriptor.fields_by_name and "name" in inner.fields_by_name:
            paths.append((field.name, "name"))
    return tuple(paths)


def _values(message: Any, path: Path) -> Iterator[str]:
    value = getattr(message, path[0])
    if len(path) > 1:
        yield from _values(value, path[1:])
    elif isinstance(value, str):
        yield value
    else:
        yield from value
