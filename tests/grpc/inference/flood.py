"""What the floods of requests share: how a request may end, and what the engine holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from random import Random
from typing import Any, Self

import grpc
import grpc.aio

from lorakit.process_memory import status_bytes
from services.inference.app import InferenceApp
from services.inference.lora_files import DiskCache

OTHERWISE = {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
"""How a request of an impatient client may end."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Of a client: when it goes away, if it does, and its deadline, both in seconds."""

    leaves_after: float | None
    timeout: float

    @classmethod
    def drawn(cls, rng: Random) -> Self:
        """Of seven clients one goes away, and one is in a hurry."""
        fate = rng.random()
        return cls(
            leaves_after=rng.uniform(0, 3) if fate < 0.15 else None,
            timeout=rng.uniform(0.01, 3) if 0.15 <= fate < 0.3 else 600.0,
        )

    def watch(self, call: Any) -> None:
        """Cancels the call when the client goes away."""
        if self.leaves_after is not None:
            asyncio.get_running_loop().call_later(self.leaves_after, call.cancel)


async def ending(read: Awaitable[str]) -> str:
    """What the reader of a stream says of its end, or the status that broke it."""
    try:
        return await read
    except grpc.aio.AioRpcError as error:
        return error.code().name
    except asyncio.CancelledError:
        return "CANCELLED"


def engine_bytes(app: InferenceApp) -> int:
    """Memory of the engine's process that belongs to no file."""
    pid = app.engine.pid
    assert pid is not None
    return status_bytes("RssAnon", pid=pid)


def left_over(app: InferenceApp) -> list[str]:
    """What requests that have ended have left behind in the service."""
    service = app.service
    files = service._files
    assert isinstance(files, DiskCache)
    held = {
        "jobs in flight": len(app.engine._flights),
        "places in the queue": service._queue.waiting + len(service._queue._places),
        "places beside it": service._queue._fetching.all.waiting,
        "requests under way": service.admission._under_way,
        "leases of files": files._leases.total(),
    }
    return [f"{count} {what}" for what, count in held.items() if count]


def service_bytes() -> int:
    """Memory of the service's process, which is this one, that belongs to no file."""
    return status_bytes("RssAnon")
