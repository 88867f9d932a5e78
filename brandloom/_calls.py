"""Small parts of requests that every group of calls needs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask


def new_request_id() -> str:
    """A UUID4: a create that is repeated with it gets the first answer."""
    return str(uuid.uuid4())


def given(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def mask(values: Mapping[str, Any]) -> FieldMask:
    """A field mask of the names of `values`."""
    return FieldMask(paths=list(values))
