"""Calls that tests make to a server of the echo service."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.fakes.servicekit_echo import SERVICE
from tests.fakes.servicekit_messages import Order

GOOD = Order(name="a")
Status = health_pb2.HealthCheckResponse


async def check(channel: grpc.aio.Channel, service: str = "") -> int:
    """What the server says of its health."""
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_pb2_grpc.HealthStub(channel).Check(request)).status


async def ask(channel: grpc.aio.Channel) -> Any:
    """The answer to a good request."""
    coders = {"request_serializer": Order.SerializeToString, "response_deserializer": Order.FromString}
    return await channel.unary_unary(f"/{SERVICE}/Unary", **coders)(GOOD)
