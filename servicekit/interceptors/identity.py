"""Identifies the caller of every call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio

from servicekit.identity import Authenticator, set_principal
from servicekit.interceptors.calls import Around, Call, CallInterceptor

# Probes and tools ask these before they can have credentials; they tell nothing about any brand.
OPEN_SERVICES: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)


def identity_interceptor(authenticator: Authenticator) -> grpc.aio.ServerInterceptor:
    """Asks the authenticator and keeps its answer for `servicekit.identity.current_principal`."""

    @asynccontextmanager
    async def identified(call: Call, _context: Any) -> AsyncIterator[None]:
        if call.service_name not in OPEN_SERVICES:
            set_principal(await authenticator.authenticate(call.metadata))
        yield

    return CallInterceptor(Around(identified))
