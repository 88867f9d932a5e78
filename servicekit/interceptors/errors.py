"""Turns exceptions into rich gRPC statuses."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_status import rpc_status

from servicekit.errors import Internal, ServiceError, Unimplemented
from servicekit.interceptors.calls import Around, Call, CallInterceptor
from servicekit.interceptors.outcome import outcome
from servicekit.logs import request_id
from servicekit.status import PUSHBACK_KEY, pushback, to_rich_status

_log = structlog.get_logger("brandloom.rpc")


def error_interceptor() -> grpc.aio.ServerInterceptor:
    """ServiceErrors become their status; anything else becomes INTERNAL with a fixed text and a correlation
    id, and its traceback goes to the log under that id."""
    return CallInterceptor(Around(_translated))


@asynccontextmanager
async def _translated(call: Call, context: Any) -> AsyncIterator[None]:
    try:
        yield
    except grpc.aio.AbortError:
        raise  # the handler has set its status already
    except ServiceError as error:
        if isinstance(error, Internal):
            _log.error("internal error", method=call.method, exc_info=error)
        await _abort(context, error, error)
    except Exception as error:
        await _abort(context, _shown(call, context, error), error)


def _shown(call: Call, context: Any, error: Exception) -> ServiceError:
    """What the caller is told of an error that is not the service's own."""
    # The generated class raises this, and sets the code, for methods that its subclass leaves out.
    if isinstance(error, NotImplementedError) and outcome(context, error) is grpc.StatusCode.UNIMPLEMENTED:
        return Unimplemented(f"{call.method} is not offered by this service")
    correlation_id = uuid.uuid4().hex
    _log.error("unexpected error", method=call.method, correlation_id=correlation_id, exc_info=error)
    return Internal(
        f"an unexpected error happened; its correlation id is {correlation_id}",
        metadata={"correlation_id": correlation_id},
    )


async def _abort(context: Any, shown: ServiceError, cause: Exception) -> None:
    if context.done() or context.cancelled():
        raise cause  # the caller has left: there is nobody to tell, and grpc has freed what would tell it
    status = rpc_status.to_status(to_rich_status(shown, request_id=request_id()))
    # abort replaces the trailing metadata; what was set before (the request id) is kept beside the details.
    trailing = [*(context.trailing_metadata() or ()), *status.trailing_metadata]
    wait = pushback(shown, context.time_remaining())
    if wait:
        trailing.append((PUSHBACK_KEY, wait))
    await context.abort(status.code, status.details, tuple(trailing))
