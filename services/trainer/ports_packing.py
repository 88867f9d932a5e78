"""What the packer needs from the outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from services.trainer.leasing import Queue, QueueRules, Wish
from services.trainer.memory_figures import BaseMemory
from services.trainer.preemption import Running, Seat
from services.trainer.spec import TrainingSpec


class PackingReader(Protocol):
    """What the packer looks at."""

    async def queue(self, now: datetime, rules: QueueRules, wish: Wish | None) -> Queue:
        """The queued jobs whose time has come, of each brand as many of the first as the wish could use; None
        for all, even those whose time is still to come."""
        ...

    async def specs(self, names: Sequence[str]) -> Mapping[str, TrainingSpec]:
        """The specs of these jobs."""
        ...

    async def running(self) -> list[Running]:
        """The leased jobs."""
        ...

    async def seats(self, seen_after: datetime) -> list[Seat]:
        """Workers that were heard of after that time."""
        ...

    async def memories(self, base_sha256: Sequence[str]) -> list[BaseMemory]:
        """What workers have measured on these bases, on each device."""
        ...


class PackingRecords(PackingReader, Protocol):
    """What the packer looks at, to be changed."""

    async def see(self, seat: Seat, now: datetime) -> None:
        """The worker has been heard of."""
        ...

    async def see_again(self, worker: str, now: datetime) -> None:
        """The worker has been heard of, and nothing about it has changed."""
        ...

    async def serve(self, brands: Collection[str], now: datetime) -> None:
        """Jobs of these brands have got places."""
        ...

    async def put_memory(self, memory: BaseMemory, now: datetime) -> None:
        """What was measured, instead of what was measured there before."""
        ...

    async def forget(self, now: datetime, silent_since: datetime) -> None:
        """Drops workers that were not heard of since that time, and figures that are long out of date."""
        ...
