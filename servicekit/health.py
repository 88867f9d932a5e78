"""The standard health service (grpc.health.v1), fed by readiness checks that are really made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from servicekit.errors import NotFound

ReadinessCheck = Callable[[], Awaitable[bool]]

_CHECK_TIMEOUT_SECONDS: Final = 5.0
_log = structlog.get_logger(__name__)


class Health:
    """Check, List and Watch for the given services and for the server as a whole (the empty name).

    All are SERVING while every readiness check says yes, and NOT_SERVING from the drain on.
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

    # The names of the methods are those of the .proto.
    async def Check(self, request: HealthCheckRequest, _context: Any) -> HealthCheckResponse:  # noqa: N802
        """The status of one service; NotFound for an unknown one."""
        if request.service not in self._services:
            raise NotFound.of("Service", request.service)
        return HealthCheckResponse(status=self._status(request.service))

    async def List(  # noqa: N802
        self, _request: HealthListRequest, _context: Any
    ) -> HealthListResponse:
        """The status of every service."""
        statuses = {service: HealthCheckResponse(status=self._status(service)) for service in self._services}
        return HealthListResponse(statuses=statuses)

    async def Watch(  # noqa: N802
        self, request: HealthCheckRequest, _context: Any
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status now and whenever it changes; SERVICE_UNKNOWN for an unknown service, as the protocol
        says."""
        told: int | None = None
        while (status := await self._next_status(request.service, told)) != told:
            told = status
            yield HealthCheckResponse(status=status)

    async def _next_status(self, service: str, told: int | None) -> int:
        """A status other than the one told, as soon as there is one; in the drain, the status as it is."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._draining or self._status(service) != told)
            return self._status(service)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(HealthCheckResponse.SERVICE_UNKNOWN)
        serving = self._serving and not self._draining
        return int(HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)

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
