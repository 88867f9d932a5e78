"""Arguments as callers give them: checked against their annotations, before anything is sent."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, Final

MAX_SEED: Final = 2**32 - 1
_SIDE_STEP: Final = 8
_LARGEST_SIDE: Final = 2048
_SHOWN_CHARACTERS: Final = 40
_WORDS: Final[Mapping[Any, str]] = types.MappingProxyType(
    {str: "a str", int: "a whole number", float: "a number", bool: "True or False", bytes: "bytes"}
)


def argument(name: str, annotation: Any, value: Any) -> Any:
    """The value if it is what the annotation says; the name of an enum's member, in either case, as it.

    Raises TypeError for another type and ValueError for a text that is no member, naming the argument and
    what it takes.
    """
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _member(name, annotation, value)
    wrong = _misfit(name, annotation, value)
    if wrong is not None:
        place, item = wrong
        takes = _described(annotation if place == name else _item_of(annotation))
        raise TypeError(f"{place} must be {takes}, not {_shown(item)}")
    return value


def settings(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, checked as the TypedDict `kind` says; None goes for every one.

    Raises TypeError for one that it does not know or of another type, ValueError.
    """
    known = _annotations(kind)
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise TypeError(f"there is no setting {name!r}: {hint}")
        found[name] = None if value is None else argument(name, known[name], value)
    check_seeds(found.get("seed"), found.get("count"))
    return found


def check_seeds(seed: int | None, count: int | None) -> None:
    """Raises ValueError where the last of `count` pictures, each with the next seed, had one too large."""
    last = (seed or 0) + max(count or 1, 1) - 1
    if seed is not None and not 0 <= seed <= last <= MAX_SEED:
        raise ValueError(f"seeds must be from 0 to {MAX_SEED}, but {seed} and the next ones end at {last}")


def check_side(pixels: int) -> None:
    """Raises ValueError for a width or height, in pixels, that no service takes."""
    if not _SIDE_STEP <= pixels <= _LARGEST_SIDE:
        raise ValueError(
            f"must be from {_SIDE_STEP} to what `brandloom capacity` shows as largest, not {pixels}"
        )
    if pixels % _SIDE_STEP:
        raise ValueError(f"must be a multiple of {_SIDE_STEP}, not {pixels}")


@lru_cache(maxsize=16)
def _annotations(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _member(name: str, kind: type[StrEnum], value: Any) -> StrEnum:
    known = [member.lower() for member in kind if member != "UNSPECIFIED"]
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a {kind.__name__} or its name, not {_shown(value)}")
    if value.upper() not in kind.__members__:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    return kind(value.upper())


def _misfit(place: str, annotation: Any, value: Any) -> tuple[str, Any] | None:
    """The place and value that do not fit: the whole, or an item of a sequence."""
    options = _options(annotation)
    if any(_fits(option, value) for option in options):
        return None
    for option in options:
        if typing.get_origin(option) is Sequence and _is_sequence(value):
            item_kind = typing.get_args(option)[0]
            number = next(i for i, item in enumerate(value) if not _any_fits(item_kind, item))
            return f"{place}[{number}]", value[number]
    return place, value


def _any_fits(annotation: Any, value: Any) -> bool:
    return any(_fits(option, value) for option in _options(annotation))


def _fits(kind: Any, value: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin is Sequence:
        return _is_sequence(value) and all(_any_fits(typing.get_args(kind)[0], item) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, kind)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return typing.get_args(annotation)
    return (annotation,)


def _item_of(annotation: Any) -> Any:
    sequence = next(option for option in _options(annotation) if typing.get_origin(option) is Sequence)
    return typing.get_args(sequence)[0]


def _described(annotation: Any) -> str:
    kinds = [option for option in _options(annotation) if option is not type(None)]
    return " or ".join(_word(kind) for kind in kinds)


def _word(kind: Any) -> str:
    if typing.get_origin(kind) is Sequence:
        return f"a list, each item {_described(typing.get_args(kind)[0])}"
    if typing.get_origin(kind) is Mapping:
        return "a mapping"
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    return _WORDS.get(kind) or f"{article} {kind.__name__}"


def _shown(value: Any) -> str:
    text = "..." if isinstance(value, bytes) else repr(value)
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return f"the {type(value).__name__} {cut}"
