"""Filters (AIP-160) as SQL conditions, through a table of the fields that may be filtered by.

    FIELDS = {
        "display_name": FilterField(Lora.display_name, FieldKind.TEXT),
        "create_time": FilterField(Lora.create_time, FieldKind.TIME),
        "state": FilterField(Lora.state, FieldKind.CHOICE, choices={"ACTIVE": 1, "ARCHIVED": 2}),
        "tags": repeated_field(lambda tag: exists().where(LoraTag.lora_id == Lora.id, LoraTag.tag == tag)),
        "labels": map_field(lambda key: Lora.labels[key].as_string()),
    }
    condition = compile_filter('tags:neon AND create_time > "2026-01-01T00:00:00Z"', FIELDS)

Text: `=` is exact, or a prefix when the value ends with `*`; `:` is a part of it, in any case; `:*` is "not
empty". A value alone looks into the fields given as `search`. Missing values equal nothing and differ from
everything.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, not_, or_, true

from servicekit import filter_syntax as syntax
from servicekit.filter_syntax import fault


class FieldKind(Enum):
    """What a field's values are, and so which comparisons make sense."""

    TEXT = auto()
    INTEGER = auto()
    NUMBER = auto()
    BOOLEAN = auto()
    TIME = auto()
    CHOICE = auto()
    REPEATED = auto()
    MAP = auto()


@dataclass(frozen=True, slots=True)
class FilterField:
    """One field of a resource: its column and kind; `choices` maps the words of a CHOICE to what the column
    holds."""

    column: Any
    kind: FieldKind
    choices: Mapping[str, Any] = field(default_factory=dict)
    has: Callable[[str], ColumnElement[bool]] | None = None
    entry: Callable[[str], ColumnElement[Any]] | None = None


def repeated_field(has: Callable[[str], ColumnElement[bool]]) -> FilterField:
    """A field with many values: `has(value)` is the condition that one of them is `value`."""
    return FilterField(None, FieldKind.REPEATED, has=has)


def map_field(entry: Callable[[str], ColumnElement[Any]]) -> FilterField:
    """A map from text to text: `entry(key)` is its value as a column, NULL where the key is missing."""
    return FilterField(None, FieldKind.MAP, entry=entry)


def compile_filter(
    text: str, fields: Mapping[str, FilterField], *, search: Sequence[str] = ()
) -> ColumnElement[bool]:
    """The condition that the filter stands for; InvalidArgument on `filter` with the position of the
    fault."""
    node = syntax.parse_filter(text)
    return true() if node is None else _condition(node, fields, search)


def _condition(
    node: syntax.Node, fields: Mapping[str, FilterField], search: Sequence[str]
) -> ColumnElement[bool]:
    match node:
        case syntax.All(operands):
            return and_(*(_condition(operand, fields, search) for operand in operands))
        case syntax.Any(operands):
            return or_(*(_condition(operand, fields, search) for operand in operands))
        case syntax.Not(operand):
            return not_(_condition(operand, fields, search))
        case syntax.Search(value):
            if not search:
                raise fault(value.position, f"{value.text!r} is compared with nothing; write field = value")
            return or_(*(_contains(fields[name].column, value.text) for name in search))
        case syntax.Comparison():
            return _comparison(node, fields)


def _comparison(node: syntax.Comparison, fields: Mapping[str, FilterField]) -> ColumnElement[bool]:
    name, *rest = node.path
    target = fields.get(name)
    if target is None:
        known = ", ".join(sorted(fields))
        raise fault(node.position, f"there is no field {name!r} to filter by; there are {known}")
    if target.kind is FieldKind.MAP:
        return _compare_map(node, target, ".".join(rest))
    if rest:
        raise fault(node.position, f"{name!r} has no fields of its own")
    if target.kind is FieldKind.REPEATED:
        if node.operator != ":" or target.has is None:
            raise fault(node.position, f"{name!r} holds many values; only {name}:value can be asked")
        return target.has(node.value.text)
    if node.operator == ":" and node.value.text == "*" and not node.value.quoted:
        return _present(target)
    if target.kind is FieldKind.TEXT:
        return _compare_text(node.operator, target.column, node.value)
    return _compare_ordered(node, target)


def _compare_map(node: syntax.Comparison, target: FilterField, key: str) -> ColumnElement[bool]:
    assert target.entry is not None
    if not key:
        if node.operator != ":":
            raise fault(node.position, f"{node.path[0]!r} is a map; ask {node.path[0]}.key = value")
        return target.entry(node.value.text).is_not(None)
    column = target.entry(key)
    if node.operator == ":" and node.value.text == "*" and not node.value.quoted:
        return column.is_not(None)
    return _compare_text("=" if node.operator == ":" else node.operator, column, node.value)


def _compare_text(operator: str, column: Any, value: syntax.Value) -> ColumnElement[bool]:
    if operator == ":":
        return _contains(column, value.text)
    if value.text.endswith("*") and operator in ("=", "!="):
        prefix = value.text[:-1]
        # Not LIKE, which minds the case on one database and not on the other.
        column, text = func.substr(column, 1, len(prefix)), prefix
    else:
        text = value.text
    return _compare(operator, column, text)


def _compare_ordered(node: syntax.Comparison, target: FilterField) -> ColumnElement[bool]:
    operator = "=" if node.operator == ":" else node.operator
    if target.kind in (FieldKind.BOOLEAN, FieldKind.CHOICE) and operator not in ("=", "!="):
        raise fault(node.position, f"{node.path[0]!r} has no order; use = or !=")
    return _compare(operator, target.column, _READERS[target.kind](node.value, target))


def _compare(operator: str, column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    if operator == "!=":
        return column.is_distinct_from(value)
    condition = _OPERATORS[operator](column, value)
    # NULL would stay NULL under NOT, and the row would be in neither of the two answers.
    return and_(column.is_not(None), condition) if getattr(column, "nullable", True) else condition


def _contains(column: Any, text: str) -> ColumnElement[bool]:
    return func.coalesce(column, "").icontains(text, autoescape=True)


def _present(target: FilterField) -> ColumnElement[bool]:
    if target.kind is FieldKind.TEXT:
        return func.coalesce(target.column, "") != ""
    present: ColumnElement[bool] = target.column.is_not(None)
    return present


def _read_integer(value: syntax.Value, _target: FilterField) -> int:
    try:
        number = int(value.text)
    except ValueError:
        raise fault(value.position, f"expected a whole number, found {value.text!r}") from None
    if not -(2**63) <= number < 2**63:
        raise fault(value.position, "the number does not fit into 64 bits")
    return number


def _read_number(value: syntax.Value, _target: FilterField) -> float:
    try:
        return float(value.text)
    except ValueError:
        raise fault(value.position, f"expected a number, found {value.text!r}") from None


def _read_boolean(value: syntax.Value, _target: FilterField) -> bool:
    if value.text not in ("true", "false"):
        raise fault(value.position, f"expected true or false, found {value.text!r}")
    return value.text == "true"


def _read_time(value: syntax.Value, _target: FilterField) -> datetime:
    try:
        moment = datetime.fromisoformat(value.text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter for year 1 or 9999 in another zone
        example = '"2026-01-31T12:00:00Z"'
        raise fault(value.position, f"expected a time like {example}, found {value.text!r}") from None


def _read_choice(value: syntax.Value, target: FilterField) -> Any:
    if value.text not in target.choices:
        known = ", ".join(target.choices)
        raise fault(value.position, f"expected one of {known}, found {value.text!r}")
    return target.choices[value.text]


_READERS: Final[Mapping[FieldKind, Callable[[syntax.Value, FilterField], Any]]] = {
    FieldKind.INTEGER: _read_integer,
    FieldKind.NUMBER: _read_number,
    FieldKind.BOOLEAN: _read_boolean,
    FieldKind.TIME: _read_time,
    FieldKind.CHOICE: _read_choice,
}
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], ColumnElement[bool]]]] = {
    "=": operators.eq,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
