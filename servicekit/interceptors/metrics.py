"""Rate, errors and duration of every call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from servicekit.interceptors.calls import Around, Call, CallInterceptor
from servicekit.interceptors.outcome import outcome
from servicekit.metrics import ServiceMetrics


def metrics_interceptor(metrics: ServiceMetrics) -> grpc.aio.ServerInterceptor:
    """Counts and times the calls of known methods; unknown ones get no labels, which a stranger could
    multiply."""

    @asynccontextmanager
    async def measured(call: Call, context: Any) -> AsyncIterator[None]:
        labels = {"rpc_service": call.service_name, "rpc_method": call.method_name}
        metrics.rpc_started.labels(**labels).inc()
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            with metrics.rpc_in_flight.labels(**labels).track_inprogress():
                yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            code = outcome(context, error).name
            metrics.rpc_handled.labels(**labels, code=code).inc()
            metrics.rpc_duration.labels(**labels).observe(time.perf_counter() - started)

    return CallInterceptor(Around(measured))
