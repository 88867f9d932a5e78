"""One page of a listing: filter, order, page size and token of an AIP list request, put to a SELECT.

page = await list_page(
    session, select(Lora).where(Lora.brand == brand), FIELDS, query, tie_breaker="name",
    default_order="create_time desc", scope=("loras", brand),
)
page.items, page.next_page_token
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.filtering import FilterField, compile_filter
from servicekit.ordering import parse_order
from servicekit.pagination import PageToken, clamp_page_size, query_digest

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListQuery:
    """What a list request asks, as it came from the caller."""

    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in order; the token is empty on the last page."""

    items: list[T]
    next_page_token: str


async def list_page(
    session: AsyncSession,
    statement: Select[tuple[T]],
    fields: Mapping[str, FilterField],
    query: ListQuery,
    *,
    scope: Sequence[str],
    default_order: str,
    tie_breaker: str,
    search: Sequence[str] = (),
) -> Page[T]:
    """The page of `statement`'s rows that `query` asks for; InvalidArgument names the faulty field.

    `scope` is what else decides the result (collection, parent, flags): a token of one scope is refused in
    another.
    """
    size = clamp_page_size(query.page_size)
    ordering = parse_order(query.order_by, fields, default=default_order, tie_breaker=tie_breaker)
    condition = compile_filter(query.filter, fields, search=search)
    digest = query_digest(*scope, query.filter, query.order_by)
    token = PageToken.decode(query.page_token, digest)
    rows = (
        await session.execute(
            statement.where(condition, ordering.after(token.cursor if token else None))
            .add_columns(*ordering.columns)
            .order_by(*ordering.clauses)
            .limit(size + 1)  # one more tells whether there is a next page
        )
    ).all()
    page = rows[:size]
    next_token = ""
    if len(rows) > size:
        next_token = PageToken(ordering.cursor(page[-1][1:])).encode(digest)
    return Page([row[0] for row in page], next_token)
