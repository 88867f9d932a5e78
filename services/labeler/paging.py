"""Listings of this service through servicekit's pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit import listing
from servicekit.filtering import FilterField
from services.labeler.domain import ListQuery, Page

Row = TypeVar("Row")
Item = TypeVar("Item")


async def page_of(
    session: AsyncSession,
    statement: Select[Any],
    fields: Mapping[str, FilterField],
    query: ListQuery,
    make: Callable[[Row], Item],
    *,
    scope: Sequence[str],
    default_order: str,
    tie_breaker: str,
    search: Sequence[str] = (),
) -> Page[Item]:
    """The page that the query asks for, its rows made into items; InvalidArgument names the faulty field."""
    asked = listing.ListQuery(
        page_size=query.page_size,
        page_token=query.page_token,
        filter=query.filter,
        order_by=query.order_by,
    )
    page = await listing.list_page(
        session,
        statement,
        fields,
        asked,
        scope=scope,
        default_order=default_order,
        tie_breaker=tie_breaker,
        search=search,
    )
    return Page(tuple(make(row) for row in page.items), page.next_page_token)
