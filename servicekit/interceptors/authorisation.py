"""Refuses calls that their caller may not make, before anything else is said about the request (AIP-211)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from servicekit.identity import require_administrator
from servicekit.interceptors.calls import Around, Call, CallInterceptor
from servicekit.interceptors.requests import CheckedRequests
from servicekit.request_brands import require_brands


def administrator_interceptor(methods: Set[str]) -> grpc.aio.ServerInterceptor:
    """PermissionDenied for these methods (`/package.Service/Method`) unless the caller administers."""

    @asynccontextmanager
    async def administered(call: Call, _context: Any) -> AsyncIterator[None]:
        if call.method in methods:
            require_administrator()
        yield

    return CallInterceptor(Around(administered))


def brand_interceptor() -> grpc.aio.ServerInterceptor:
    """PermissionDenied for requests about a brand that is not the caller's."""
    return CallInterceptor(CheckedRequests(require_brands))
