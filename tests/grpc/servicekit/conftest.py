"""Real servers on loopback, with the whole chain of interceptors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest

from servicekit.channels import open_channel
from servicekit.identity import LocalTokenAuthenticator
from servicekit.interceptors import server_interceptors
from servicekit.metrics import ServiceMetrics
from servicekit.server import ServiceServer
from tests.fakes.servicekit_echo import EchoServicer, EchoStub

TOKEN = "let-me-in"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts calls, and a way to call it."""

    server: ServiceServer
    port: int
    channel: grpc.aio.Channel
    stub: EchoStub
    metrics: ServiceMetrics


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a server for an EchoServicer; further arguments go to ServiceServer and to the interceptors."""
    running: list[Running] = []

    async def start_one(
        servicer: EchoServicer | None = None,
        *,
        token: str | None = TOKEN,
        readiness: Any = None,
        unary_limit_seconds: float = 30.0,
        **options: Any,
    ) -> Running:
        metrics = ServiceMetrics("test")
        interceptors = server_interceptors(
            authenticator=LocalTokenAuthenticator(TOKEN),
            metrics=metrics,
            unary_limit_seconds=unary_limit_seconds,
        )
        registrations = [(servicer or EchoServicer()).registration()]
        server = ServiceServer(
            "test",
            "127.0.0.1:0",
            interceptors,
            registrations,
            readiness or {},
            **{"drain_seconds": 5.0} | options,
        )
        port = await server.start()
        channel = open_channel(f"127.0.0.1:{port}", token=token)
        running.append(Running(server, port, channel, EchoStub(channel), metrics))
        return running[-1]

    yield start_one
    for one in running:
        await one.channel.close()
        await one.server.stop(0)
