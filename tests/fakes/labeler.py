"""Hand-written stand-ins at the labeler's ports: a captioner that does as it is told, a clock that is set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.labeler.domain import Failure, UploadOutcome
from services.labeler.ports import CaptionerError


class FakeCaptioner:
    """Says how many bytes a picture has. `poison` holds pictures that it dies over."""

    def __init__(self) -> None:
        self.name = "fake"
        self.batches: list[int] = []
        self.poison: set[bytes] = set()
        self.broken: Failure | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.prepared = 0

    async def prepare(self) -> None:
        self.prepared += 1
        if self.broken is not None:
            raise CaptionerError(self.broken)

    async def caption(self, pngs: Sequence[bytes], *, max_tokens: int) -> list[str]:
        await self.may_go_on.wait()
        self.batches.append(len(pngs))
        if self.poison & set(pngs):
            raise CaptionerError(Failure("CAPTIONER_DIED", "poisoned"))
        return [f"{len(png)} bytes" for png in pngs]


class SetClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def move(self, seconds: float) -> None:
        """Into the future."""
        self.moment += timedelta(seconds=seconds)


class CountingMeter:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.captions = 0
        self.failures = 0
        self.ended: list[str] = []
        self.waiting: list[int] = []

    def uploaded(self, outcome: UploadOutcome) -> None: ...

    def captioned(self, pictures: int, seconds: float) -> None:
        self.captions += pictures

    def caption_failed(self, pictures: int) -> None:
        self.failures += pictures

    def jobs_waiting(self, count: int) -> None:
        self.waiting.append(count)

    def job_ended(self, state: str) -> None:
        self.ended.append(state)
