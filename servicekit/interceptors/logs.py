"""One log line for each call, and its request id."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from servicekit.identity import caller_subject
from servicekit.interceptors.calls import Around, Call, CallInterceptor
from servicekit.interceptors.outcome import outcome
from servicekit.logs import REQUEST_ID_KEY, adopt_request_id

# Probes come every few seconds and say nothing when they succeed.
_QUIET_SERVICES: Final = frozenset({"grpc.health.v1.Health"})
_FAULTS_OF_OURS: Final = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
)

_log = structlog.get_logger("brandloom.rpc")


def log_interceptor() -> grpc.aio.ServerInterceptor:
    """Logs method, code, duration, peer and caller; takes the request id from the metadata, or makes one, and
    sends it back in the trailing metadata."""
    return CallInterceptor(Around(_logged))


@asynccontextmanager
async def _logged(call: Call, context: Any) -> AsyncIterator[None]:
    request_id = adopt_request_id(call.metadata.get(REQUEST_ID_KEY, ""))
    context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
    peer = context.peer()  # not later: when the caller has left, grpc may have freed what this reads
    started = time.perf_counter()
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        code = outcome(context, error)
        if call.service_name not in _QUIET_SERVICES or code is not grpc.StatusCode.OK:
            _log.log(
                logging.ERROR if code in _FAULTS_OF_OURS else logging.INFO,
                "rpc",
                method=call.method,
                code=code.name,
                milliseconds=round((time.perf_counter() - started) * 1000, 2),
                peer=peer,
                caller=caller_subject(),
            )
