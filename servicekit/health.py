"""The standard health service (grpc.health.v1), fed by readiness checks that are really made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from grpc_health.v1 import health_pb2

from servicekit.errors import NotFound

ReadinessCheck = Callable[[], Awaitable[bool]]

_CHECK_TIMEOUT_SECONDS: Final = 5.0
_Status = health_pb2.HealthCheckResponse.ServingStatus
_log = structlog.get_logger(__name__)


class Health:
    """Check, List and Watch for the given services and for the server as a whole (the empty name).

    All are SERVING while every readiness check says yes, and NOT_SERVING from the drain on. It also keeps the names of
    the failing checks for the logs.
    """

    def __init__(
        self, services: Sequence[str], checks: Mapping[str, ReadinessCheck], *, poll_seconds: float
    ) -> None:
        self._services = ("", *services)
        self._checks = dict(checks)
        self._poll_seconds = poll_seconds
        self._serving = False
        self._draining = False
        self._changed = asyncio.Condition()
        self._failing: frozenset[str] | None = None

    async def poll_forever(self) -> None:
        """Makes the checks again and again; run it as a task and cancel it at the end."""
        while True:
            await self.poll()
            await asyncio.sleep(self._poll_seconds)

    async def poll(self) -> None:
        """Makes every check once, all at the same time."""
        answers = await asyncio.gather(*(_holds(check) for check in self._checks.values()))
        failing = frozenset(name for name, holds in zip(self._checks, answers, strict=True) if not holds)
        if failing != self._failing:
            _log.info("ready" if not failing else "not ready", failing=sorted(failing))
            self._failing = failing
        await self._set(serving=not failing, draining=self._draining)

    async def drain(self) -> None:
        """NOT_SERVING for good; Watch streams are told and then ended, so that they hold up no shutdown."""
        await self._set(serving=False, draining=True)

    async def Check(self, request: health_pb2.HealthCheckRequest, _context: Any) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            raise NotFound.of("Service", request.service)
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def List(self, _request: health_pb2.HealthListRequest, _context: Any) -> health_pb2.HealthListResponse:
        return health_pb2.HealthListResponse(
            statuses={
                service: health_pb2.HealthCheckResponse(status=self._status(service)) for service in self._services
            }
        )

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _context: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        told = None
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._draining or self._status(request.service) != told)
                status, draining = self._status(request.service), self._draining
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            if draining:
                return

    def _status(self, service: str) -> _Status.ValueType:
        if service not in self._services:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        if self._serving and not self._draining:
            return health_pb2.HealthCheckResponse.SERVING
        return health_pb2.HealthCheckResponse.NOT_SERVING

    async def _set(self, *, serving: bool, draining: bool) -> None:
        async with self._changed:
            self._serving, self._draining = serving, draining
            self._changed.notify_all()


async def _holds(check: ReadinessCheck) -> bool:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
            return bool(await check())
    except Exception:  # a check that cannot tell says no
        _log.debug("readiness check raised", exc_info=True)
        return False
