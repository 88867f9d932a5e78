"""Starts, serves and stops one gRPC server: health, reflection, and a drain that loses no call.

server = ServiceServer(
    name="registry",
    listen=config.listen,
    interceptors=server_interceptors(authenticator=authenticator, metrics=metrics),
    registrations=[
        Registration(REGISTRY_SERVICE, add_RegistryServiceServicer_to_server, RegistryServicer(...)),
    ],
    readiness={"database": database.ready, "store": store.ready},
)
await server.start()
await server.run_until_stopped()
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from servicekit.drain import Drain
from servicekit.health import Health, ReadinessCheck
from servicekit.interceptors.under_way import CallsUnderWay

DEFAULT_MESSAGE_BYTES: Final = 4 << 20
_HEALTH_SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Registration:
    """A servicer, the generated function that adds it to a server, and the full name of its service
    (`pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name`)."""

    service_name: str
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: object
    administrators_only: Set[str] = frozenset()
    """Names of the methods that only administrators may call"""


class ServiceServer:
    """One gRPC server of one service; `start` once, then `stop` or `run_until_stopped`."""

    def __init__(
        self,
        name: str,
        listen: str,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        registrations: Sequence[Registration],
        readiness: Mapping[str, ReadinessCheck],
        *,
        drain: Drain | None = None,
        after_start: Callable[[int], Awaitable[None]] | None = None,
        before_stop: Callable[[], Awaitable[None]] | None = None,
        drain_seconds: float = 20.0,
        readiness_poll_seconds: float = 2.0,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._name = name
        self._listen = listen
        self._drain = drain or Drain()
        self._after_start = after_start
        self._before_stop = before_stop
        self._drain_seconds = drain_seconds
        self._credentials = credentials
        services = [registration.service_name for registration in registrations]
        self._health = Health(services, readiness, poll_seconds=readiness_poll_seconds)
        self._calls = CallsUnderWay()
        self._server = grpc.aio.server(
            interceptors=(self._calls.interceptor(), *interceptors), options=_options(max_message_bytes)
        )
        for registration in registrations:
            registration.add(registration.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflected = (*services, _HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(reflected, self._server)
        self._polling: asyncio.Task[None] | None = None

    @property
    def drain(self) -> Drain:
        """Begins when the server is told to stop; watch streams end themselves by it."""
        return self._drain

    async def start(self) -> int:
        """Binds, makes the first readiness checks, accepts calls, runs `after_start` with the port; returns
        the port. OSError when it cannot bind."""
        port = self._bind()
        await self._health.poll()
        await self._server.start()
        self._polling = asyncio.create_task(self._health.poll_forever())
        _log.info("serving", server=self._name, listen=self._listen, port=port)
        if self._after_start is not None:
            await self._after_start(port)
        return port

    async def run_until_stopped(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains. A second signal cuts the drain short.

        Starts first if that has not been done: then no signal can come between being ready and listening for
        it.
        """
        signalled = asyncio.Event()
        hurried = asyncio.Event()

        def on_signal() -> None:
            (hurried if signalled.is_set() else signalled).set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        try:
            if self._polling is None:
                await self.start()
            await signalled.wait()
            stopping = asyncio.create_task(self.stop())
            hurry = asyncio.create_task(hurried.wait())
            await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if not stopping.done():
                stopping.cancel()
            await asyncio.gather(stopping, hurry, return_exceptions=True)
            await self._end_calls(0.0)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def stop(self, drain_seconds: float | None = None) -> None:
        """NOT_SERVING, then `before_stop`, then no new calls, then an end to what is left.

        Calls are still taken while `before_stop` runs: there a service lets its workers report for the last
        time. It and the calls under way have `drain_seconds` together; after that they are cancelled.
        """
        grace = self._drain_seconds if drain_seconds is None else drain_seconds
        _log.info("draining", server=self._name, seconds=grace)
        ends = time.monotonic() + grace
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait({self._polling})
        await self._health.drain()
        self._drain.begin()
        await self._run_before_stop(grace)
        await self._end_calls(max(0.0, ends - time.monotonic()))
        _log.info("stopped", server=self._name)

    async def _run_before_stop(self, grace_seconds: float) -> None:
        if self._before_stop is None:
            return
        try:
            async with asyncio.timeout(grace_seconds):
                await self._before_stop()
        except Exception:  # whatever went wrong there, the server must stop
            _log.exception("the work before the stop failed", server=self._name)

    async def _end_calls(self, grace_seconds: float) -> None:
        await self._server.stop(grace_seconds)
        await self._calls.end()

    def _bind(self) -> int:
        try:
            if self._credentials is None:
                return self._server.add_insecure_port(self._listen)
            return self._server.add_secure_port(self._listen, self._credentials)
        except RuntimeError as error:
            raise OSError(f"{self._name} cannot listen on {self._listen}; is it in use?") from error


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Two servers on one port would each get some of the calls: a mistake, not a feature.
        ("grpc.so_reuseport", 0),
        # Clients ping idle connections every 30 s (servicekit.channels); the default allows one in 5 minutes.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
