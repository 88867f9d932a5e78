"""Page sizes and page tokens (AIP-158): opaque, and good only for the query that they came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final, Self

from servicekit.errors import InvalidArgument

DEFAULT_PAGE_SIZE: Final = 50
MAXIMUM_PAGE_SIZE: Final = 1000
_CHECK_BYTES: Final = 12

CursorValue = str | int | float | bool | None


def clamp_page_size(
    page_size: int, *, default: int = DEFAULT_PAGE_SIZE, maximum: int = MAXIMUM_PAGE_SIZE
) -> int:
    """0 is the default, more than the maximum is the maximum, less than 0 is InvalidArgument."""
    if page_size < 0:
        raise InvalidArgument.of("page_size", "must not be negative")
    return min(page_size or default, maximum)


def query_digest(*parts: str | int | bool) -> str:
    """A digest of everything that decides what a listing holds: parent, filter, order, flags (not the page
    size)."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PageToken:
    """Where the next page starts: the order-by values of the last row that was sent.

    The check bytes find tokens that were altered, cut or moved to another query. They are no secret: a token
    grants nothing, every page is authorised like the first.
    """

    cursor: tuple[CursorValue, ...]

    def encode(self, query: str) -> str:
        """The token as URL-safe text, bound to `query` (of `query_digest`)."""
        payload = json.dumps(self.cursor, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_check(payload, query) + payload).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, query: str) -> Self | None:
        """The token; None for the empty text (first page); InvalidArgument on `page_token` for anything
        else."""
        if not text:
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidArgument.of("page_token", "is not a token of this service") from None
        check, payload = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if not hmac.compare_digest(check, _check(payload, query)):
            raise InvalidArgument.of(
                "page_token", "does not belong to this query; start again at the first page"
            )
        return cls(tuple(json.loads(payload)))


def _check(payload: bytes, query: str) -> bytes:
    return hashlib.blake2b(payload, key=query.encode()[:64], digest_size=_CHECK_BYTES).digest()
