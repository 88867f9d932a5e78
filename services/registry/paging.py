"""Listings that fit into one message, however long the descriptions in them are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from servicekit import listing
from servicekit.filtering import FilterField
from servicekit.pagination import clamp_page_size
from services.registry.domain import ListQuery, Page

Row = TypeVar("Row")
MAX_PAGE_BYTES: Final = 3 << 20
"""gRPC's limit for a message is 4 MiB; names, numbers and times need room beside the texts."""


async def list_rows(
    session: AsyncSession,
    statement: Any,
    fields: Mapping[str, FilterField],
    query: ListQuery,
    *,
    scope: Sequence[str],
    order: tuple[str, str],
    weigh: Callable[[Row], int],
) -> Page[Row]:
    """A page of rows; `order` is the default order and the tie breaker, `weigh` is a row's bytes at most.

    Rows that would not fit into one message are left to the next page (AIP-158 allows short pages).
    """
    size = clamp_page_size(query.page_size)
    while True:
        page: Any = await listing.list_page(
            session,
            statement,
            fields,
            listing.ListQuery(
                page_size=size, page_token=query.page_token, filter=query.filter, order_by=query.order_by
            ),
            scope=scope,
            default_order=order[0],
            tie_breaker=order[1],
        )
        fitting = _fitting([weigh(row) for row in page.items])
        if fitting == len(page.items):
            return Page(page.items, page.next_page_token)
        size = fitting


def text_bytes(*texts: str) -> int:
    """Bytes of the texts in UTF-8, at most."""
    return sum(len(text) if text.isascii() else 4 * len(text) for text in texts)


def _fitting(weights: Sequence[int]) -> int:
    """How many of the rows fit; at least one, for a row alone always does."""
    total = 0
    for count, weight in enumerate(weights):
        total += weight
        if total > MAX_PAGE_BYTES and count:
            return count
    return len(weights)
