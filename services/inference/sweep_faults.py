"""What is wrong with a sweep, by the sweep's own fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

from servicekit.errors import FieldViolation, InvalidArgument, ServiceError, Unavailable
from services.inference.domain_sweep import Place, SweepRequest


def in_sweep(error: InvalidArgument, fields: Sequence[str]) -> InvalidArgument:
    """A fault of the stack of all references; ``fields`` says where each of them is named."""
    places = {f"stack[{index}].reference": field for index, field in enumerate(fields)}
    return _renamed(error, lambda name: places.get(name, f"template.{name}"))


def in_cell(error: Exception, request: SweepRequest, place: Place) -> Exception:
    """A fault of one cell: its message says which cell, its fields are those of the sweep.

    What is nobody's fault (Unavailable), and what callers are not told of, stays as it is.
    """
    if isinstance(error, InvalidArgument):
        own = {
            "prompt": f"prompts[{place.prompt}]",
            "seed": f"seeds[{place.seed}]",
        }
        return _renamed(error, lambda name: own.get(name, f"template.{name}"))
    if not isinstance(error, ServiceError) or isinstance(error, Unavailable):
        return error
    told = copy(error)
    told.message = (
        f"the cell of prompts[{place.prompt}], seed {request.seeds[place.seed]} and weight "
        f"{request.weights[place.weight]:g} failed: {error.message}"
    )
    told.metadata = {
        **error.metadata,
        "prompt_index": str(place.prompt),
        "seed_index": str(place.seed),
        "weight_index": str(place.weight),
    }
    return told


def _renamed(error: InvalidArgument, rename: Callable[[str], str]) -> InvalidArgument:
    violations = [FieldViolation(rename(item.field), item.description) for item in error.violations]
    return InvalidArgument(violations, reason=error.reason, metadata=error.metadata)
