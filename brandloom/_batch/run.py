"""Makes the prompts of a batch: many requests in flight, each tried again while the service has no room."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from brandloom import _arguments, _names
from brandloom._batch.lines import read_batch
from brandloom._batch.records import BatchFolder, line_key
from brandloom.errors import (
    ApiError,
    ConfigurationError,
    DeadlineExceeded,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from brandloom.types.batch import BatchLine, BatchResult
from brandloom.types.common import Failure
from brandloom.types.image_settings import ImageSettings
from brandloom.types.inference import GeneratedImage, GenerationEvent, Queued
from brandloom.types.registry import Brand

MAX_IN_FLIGHT: Final = 256
_PASSING: Final = (Unavailable, DeadlineExceeded)
_FOR_ALL: Final = (PermissionDenied, Unauthenticated)
"""What is wrong with one line alone fails that line; these would fail every one."""
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 30.0

Stream = Callable[..., AsyncIterator[GenerationEvent]]
"""`AsyncImages.stream`."""


@dataclass(frozen=True, slots=True)
class _Task:
    line: BatchLine
    settings: ImageSettings
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRun:
    """One run over a folder."""

    stream: Stream
    brand: str | Brand
    folder: Path
    in_flight: int
    """Requests at a time."""
    patience_seconds: float
    """A line is given up on when the service has had no room for it for so long."""

    async def results(
        self, lines: Sequence[BatchLine], settings: ImageSettings
    ) -> AsyncGenerator[BatchResult, None]:
        """First what earlier runs have made, then every line when it is done; leaving it ends the requests.

        Raises TypeError, ConfigurationError, PermissionDenied, Unauthenticated and OSError.
        """
        tasks = list(self._tasks(lines, settings))
        folder = await asyncio.to_thread(BatchFolder.open, self.folder)
        try:
            missing: list[_Task] = []
            for task in tasks:
                before = folder.made.get(task.key)
                if before is None:
                    missing.append(task)
                else:
                    yield replace(before, line=task.line.number, made_before=True)
            async with aclosing(self._made(missing, folder)) as made:
                async for result in made:
                    yield result
        finally:
            folder.close()

    def _tasks(self, lines: Sequence[BatchLine], settings: ImageSettings) -> Iterator[_Task]:
        seen: Counter[str] = Counter()
        brand = _names.brand(self.brand)
        for line in lines:
            own = _settings_of(line, settings)
            first = line_key(brand, line, own, 0)
            key = line_key(brand, line, own, seen[first]) if seen[first] else first
            seen[first] += 1
            yield _Task(line, own, key)

    async def _made(self, tasks: list[_Task], folder: BatchFolder) -> AsyncGenerator[BatchResult, None]:
        waiting = iter(tasks)
        done: asyncio.Queue[BatchResult | Exception] = asyncio.Queue()
        workers = [
            asyncio.create_task(self._work(waiting, folder, done))
            for _ in range(min(self.in_flight, len(tasks)))
        ]
        try:
            for _ in tasks:
                result = await done.get()
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(
        self, waiting: Iterator[_Task], folder: BatchFolder, done: asyncio.Queue[BatchResult | Exception]
    ) -> None:
        try:
            for task in waiting:
                result = await self._result(task, folder)
                # Not to be torn in two by a Ctrl-C.
                await asyncio.shield(asyncio.to_thread(folder.note, result))
                done.put_nowait(result)
        except Exception as error:  # it ends the run, and not this worker alone
            done.put_nowait(error)

    async def _result(self, task: _Task, folder: BatchFolder) -> BatchResult:
        line = task.line
        try:
            queued, images = await self._patiently(task)
        except _FOR_ALL:
            raise
        except ApiError as error:
            return BatchResult(
                line=line.number,
                prompt=line.prompt,
                key=task.key,
                seed=task.settings.get("seed"),
                error=_failure(error),
            )
        kept = [await asyncio.to_thread(folder.save, line, task.key, image, len(images)) for image in images]
        return BatchResult(
            line=line.number,
            prompt=line.prompt,
            key=task.key,
            seed=queued.seed if queued else None,
            base_model_sha256=queued.base_model_sha256 if queued else "",
            stack=queued.stack if queued else (),
            images=tuple(kept),
        )

    async def _patiently(self, task: _Task) -> tuple[Queued | None, list[GeneratedImage]]:
        """Tries again while the service has no room or is away, when it says so, else after longer and longer
        pauses.
        """
        pause = _FIRST_WAIT_SECONDS
        until = time.monotonic() + self.patience_seconds
        while True:
            try:
                return await self._ask(task)
            except (*_PASSING, ResourceExhausted) as error:
                told = error.retry_after_seconds
                # A quota that is used up comes without a time after which there is more.
                if told is None and not isinstance(error, _PASSING):
                    raise
                seconds = (pause if told is None else told) * random.uniform(1.0, 1.2)  # noqa: S311
                if time.monotonic() + seconds > until:
                    raise
            pause = min(2 * pause, _LONGEST_WAIT_SECONDS)
            await asyncio.sleep(seconds)

    async def _ask(self, task: _Task) -> tuple[Queued | None, list[GeneratedImage]]:
        queued: Queued | None = None
        images: list[GeneratedImage] = []
        async for event in self.stream(self.brand, task.line.prompt, **task.settings):
            if isinstance(event, Queued):
                queued = event
            elif isinstance(event, GeneratedImage):
                images.append(event)
        return queued, sorted(images, key=lambda image: image.index)


def batch_lines(prompts: str | Path | Sequence[BatchLine | str]) -> tuple[BatchLine, ...]:
    """The lines of a file, or of prompts that are at hand. Raises TypeError, ConfigurationError."""
    if isinstance(prompts, str | Path):
        return read_batch(prompts)
    _arguments.argument("prompts", str | Path | Sequence[BatchLine | str], prompts)
    return tuple(
        BatchLine(number, prompt) if isinstance(prompt, str) else prompt
        for number, prompt in enumerate(prompts, start=1)
    )


def _settings_of(line: BatchLine, settings: ImageSettings) -> ImageSettings:
    try:
        return cast(ImageSettings, _arguments.settings(ImageSettings, {**settings, **line.settings}))
    except ValueError as error:
        raise ConfigurationError(f"line {line.number}: {error}") from error


def check_in_flight(in_flight: int) -> int:
    """Raises ConfigurationError for a number of requests that makes no sense."""
    if not 1 <= in_flight <= MAX_IN_FLIGHT:
        raise ConfigurationError(f"from 1 to {MAX_IN_FLIGHT} requests can be in flight, not {in_flight}")
    return in_flight


def _failure(error: ApiError) -> Failure:
    fields = "; ".join(f"{item.field}: {item.description}" for item in error.violations)
    return Failure(reason=error.reason, message=fields or error.message)
