"""Health, readiness, reflection, limits and retries over a real server."""

from __future__ import annotations

import socket
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from servicekit import errors
from servicekit.channels import open_channel
from servicekit.server import ServiceServer
from tests.fakes.servicekit_echo import SERVICE, EchoServicer
from tests.fakes.servicekit_messages import Order
from tests.grpc.servicekit.harness import GOOD, Status, ask, check


class Switch:
    """A readiness check that says what it is told to say."""

    def __init__(self) -> None:
        self.answer: bool | Exception = True

    async def __call__(self) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_health_needs_no_credentials_and_knows_each_service(start: Any) -> None:
    running = await start(token=None, readiness={"store": Switch()})
    assert await check(running.channel) == Status.SERVING
    assert await check(running.channel, SERVICE) == Status.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(running.channel, "unknown")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    listed = await health_pb2_grpc.HealthStub(running.channel).List(health_pb2.HealthListRequest())
    assert {name: found.status for name, found in listed.statuses.items()} == {
        "": Status.SERVING,
        SERVICE: Status.SERVING,
    }


@pytest.mark.parametrize("answer", [False, RuntimeError("no database")])
async def test_readiness_is_polled_and_watched(start: Any, answer: bool | Exception) -> None:
    switch = Switch()
    running = await start(readiness={"database": switch}, readiness_poll_seconds=0.02)
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(request)
    assert (await watch.read()).status == Status.SERVING
    switch.answer = answer
    assert (await watch.read()).status == Status.NOT_SERVING
    assert await check(running.channel, SERVICE) == Status.NOT_SERVING
    switch.answer = True
    assert (await watch.read()).status == Status.SERVING


async def test_a_server_that_is_not_ready_says_so_from_the_start(start: Any) -> None:
    switch = Switch()
    switch.answer = False
    running = await start(readiness={"store": switch})
    assert await check(running.channel) == Status.NOT_SERVING


async def test_watching_an_unknown_service(start: Any) -> None:
    running = await start()
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(
        health_pb2.HealthCheckRequest(service="unknown")
    )
    assert (await watch.read()).status == Status.SERVICE_UNKNOWN
    await running.server.stop()
    assert await watch.read() is grpc.aio.EOF


async def test_reflection_lists_the_services(start: Any) -> None:
    running = await start(token=None)
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await call.read()
    assert {service.name for service in answer.list_services_response.service} == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_an_address_in_use_is_refused_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ServiceServer("test", f"127.0.0.1:{taken.getsockname()[1]}", [], [], {})
        with pytest.raises(OSError, match="test cannot listen on 127"):
            await server.start()


async def test_messages_beyond_the_limit_are_refused(start: Any) -> None:
    running = await start(max_message_bytes=1000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.unary(Order(name="x" * 2000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_are_retried_while_a_server_is_unavailable(start: Any) -> None:
    attempts = 0

    async def flaky(request: Any, _context: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise errors.Unavailable("not yet")
        return request

    assert (await (await start(EchoServicer(unary=flaky))).stub.unary(GOOD)).name == "a"
    assert attempts == 3


async def test_other_errors_are_not_retried(start: Any) -> None:
    attempts = 0

    async def failing(_request: Any, _context: Any) -> Any:
        nonlocal attempts
        attempts += 1
        raise errors.Aborted("lost the race")

    with pytest.raises(grpc.aio.AioRpcError):
        await (await start(EchoServicer(unary=failing))).stub.unary(GOOD)
    assert attempts == 1


async def test_both_ends_can_prove_who_they_are() -> None:
    authority = trustme.CA()
    ours, theirs = authority.issue_cert("localhost"), authority.issue_cert("trainer.brandloom")
    root = authority.cert_pem.bytes()

    async def tell(_request: Any, context: Any) -> Any:
        return Order(name=context.auth_context()["x509_subject_alternative_name"][0].decode())

    chain = ours.cert_chain_pems[0].bytes()
    credentials = grpc.ssl_server_credentials([(ours.private_key_pem.bytes(), chain)], root, True)
    registrations = [EchoServicer(unary=tell).registration()]
    server = ServiceServer("test", "localhost:0", [], registrations, {}, credentials=credentials)
    port = await server.start()
    proof = grpc.ssl_channel_credentials(
        root, theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes()
    )
    async with open_channel(f"localhost:{port}", credentials=proof) as channel:
        assert (await ask(channel)).name == "trainer.brandloom"
    async with open_channel(f"localhost:{port}", credentials=grpc.ssl_channel_credentials(root)) as stranger:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(stranger)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)
