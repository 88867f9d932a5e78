"""Looks at every request before its handler does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from servicekit.interceptors.calls import Behaviour, Call, responses


class CheckedRequests:
    """A Wrapper whose `check` raises for a request that must not be served. Of a client stream, each message
    is checked when the handler takes it."""

    def __init__(self, check: Callable[[Message], None]) -> None:
        self._check = check

    async def unary(self, call: Call, behaviour: Behaviour, request: Any, context: Any) -> Any:
        """Serves the checked request."""
        return await behaviour(self._checked(call, request), context)

    async def stream(
        self, call: Call, behaviour: Behaviour, request: Any, context: Any
    ) -> AsyncGenerator[Any, None]:
        """Serves the checked request."""
        async with aclosing(responses(behaviour, self._checked(call, request), context)) as items:
            async for response in items:
                yield response

    def _checked(self, call: Call, request: Any) -> Any:
        if call.request_streaming:
            return self._checked_stream(request)
        self._check(request)
        return request

    async def _checked_stream(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._check(request)
            yield request
