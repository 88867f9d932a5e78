"""Order-by texts (AIP-132) and keyset pages: the next page begins after the last row sent, however deep it
is.

    ordering = parse_order("create_time desc", FIELDS, default="create_time desc", tie_breaker="name")
    statement = select(Lora).where(ordering.after(cursor)).order_by(*ordering.clauses)

The columns must not be NULL, and the tie breaker must be unique.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, literal, or_, true, tuple_

from servicekit.errors import InvalidArgument
from servicekit.filtering import FieldKind, FilterField
from servicekit.pagination import CursorValue

_TERM: Final = re.compile(r"\s*([a-z][a-z0-9_.]*)(?:\s+(asc|desc))?\s*\Z")
_UNORDERED: Final = frozenset({FieldKind.REPEATED, FieldKind.MAP})


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One column of an order."""

    name: str
    column: Any
    kind: FieldKind
    descending: bool


@dataclass(frozen=True, slots=True)
class Ordering:
    """A total order of rows."""

    terms: tuple[OrderTerm, ...]

    @property
    def columns(self) -> list[Any]:
        """The columns whose values make a cursor."""
        return [term.column for term in self.terms]

    @property
    def clauses(self) -> list[ColumnElement[Any]]:
        """For `order_by`."""
        return [term.column.desc() if term.descending else term.column.asc() for term in self.terms]

    def cursor(self, values: Sequence[Any]) -> tuple[CursorValue, ...]:
        """The place of a row whose `columns` hold `values`, as a page token can carry it."""
        return tuple(value.isoformat() if isinstance(value, datetime) else value for value in values)

    def after(self, cursor: Sequence[CursorValue] | None) -> ColumnElement[bool]:
        """The condition of coming after that place; always true for None."""
        if cursor is None:
            return true()
        if len(cursor) != len(self.terms):
            raise InvalidArgument.of("page_token", "is not a token of this service")
        bounds = [_bound(term, value) for term, value in zip(self.terms, cursor, strict=True)]
        if len({term.descending for term in self.terms}) == 1:
            # One comparison of rows, which an index can answer.
            here, there = tuple_(*self.columns), tuple_(*bounds)
            return here < there if self.terms[0].descending else here > there
        return or_(*(self._after_at(index, bounds) for index in range(len(bounds))))

    def _after_at(self, index: int, bounds: list[Any]) -> ColumnElement[bool]:
        equal = [term.column == bound for term, bound in zip(self.terms[:index], bounds, strict=False)]
        term, bound = self.terms[index], bounds[index]
        return and_(*equal, term.column < bound if term.descending else term.column > bound)


def parse_order(text: str, fields: Mapping[str, FilterField], *, default: str, tie_breaker: str) -> Ordering:
    """The order that `text` asks for, `default` when it is empty; InvalidArgument on `order_by`.

    The tie breaker, a field too, comes last unless the text names it, in the direction of the term before it.
    """
    terms: dict[str, OrderTerm] = {}
    for part in (text.strip() or default).split(","):
        match = _TERM.match(part)
        if match is None:
            raise InvalidArgument.of("order_by", f"must be like 'create_time desc, name', not {text[:200]!r}")
        name, direction = match.groups()
        target = fields.get(name)
        if target is None or target.kind in _UNORDERED:
            known = ", ".join(sorted(name for name, field in fields.items() if field.kind not in _UNORDERED))
            raise InvalidArgument.of("order_by", f"cannot order by {name!r}; there are {known}")
        if name in terms:
            raise InvalidArgument.of("order_by", f"names {name!r} twice")
        terms[name] = OrderTerm(name, target.column, target.kind, direction == "desc")
    if tie_breaker not in terms:
        last = list(terms.values())[-1]
        target = fields[tie_breaker]
        terms[tie_breaker] = OrderTerm(tie_breaker, target.column, target.kind, last.descending)
    return Ordering(tuple(terms.values()))


def _bound(term: OrderTerm, value: CursorValue) -> Any:
    if term.kind is FieldKind.TIME:
        return literal(datetime.fromisoformat(str(value)), type_=term.column.type)
    return literal(value, type_=term.column.type)
