"""How a call ended, as logs and metrics tell it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
import grpc.aio

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def outcome(context: Any, error: BaseException | None) -> grpc.StatusCode:
    """The status code of a call whose handler ended with `error`, or without one."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED  # the caller left, or its deadline passed
    code = context.code()
    known = code if isinstance(code, grpc.StatusCode) else _CODES.get(code or 0, grpc.StatusCode.UNKNOWN)
    if error is not None and known is grpc.StatusCode.OK:
        return grpc.StatusCode.UNKNOWN
    return known
