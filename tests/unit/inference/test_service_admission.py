"""Requests that wait for others than the engine, and those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from servicekit.errors import Unavailable
from services.inference.domain import PICTURE_FAMILIES, SD15_FAMILY
from services.inference.domain_jobs import BaseRef, ResolvedStack
from services.inference.service_admission import Admission, Admitted
from services.inference.service_resolving import Resolver, Wanted
from tests.unit.inference.test_queue import queue_of
from tests.waiting import until

WANTED = Wanted(brand="acme", base_model="", given=(), loras=(), families=PICTURE_FAMILIES)
BASE = BaseRef(name="tiny", source="/tiny", sha256="cd", family=SD15_FAMILY)


class World:
    """A registry and a source of base models that take their time when they are told to; a ready engine."""

    def __init__(self) -> None:
        self.answers, self.files = asyncio.Event(), asyncio.Event()
        self.answers.set()
        self.files.set()

    async def resolve_stack(self, brand: str, references: Any, base_model: str) -> ResolvedStack:
        await self.answers.wait()
        return ResolvedStack(loras=(), base=BASE)

    async def locate(self, base: BaseRef) -> BaseRef:
        await self.files.wait()
        return replace(base, path="/tiny")

    def here(self, digests: Any) -> bool:
        return True

    @asynccontextmanager
    async def lease(self, sizes: Any) -> AsyncIterator[dict[str, Path]]:
        yield {}

    def require_ready(self) -> None:
        """It is."""

    def request_admitted(self, brand: str) -> None:
        """Fine."""


@pytest.fixture
async def world() -> World:
    return World()


def admission_of(world: World) -> tuple[Admission, Any]:
    """Two requests of a brand may wait."""
    queue, _, _ = queue_of(4)
    anything = cast(Any, world)
    resolver = Resolver(anything, anything, "/tiny", "")
    admission = Admission(
        resolver=resolver,
        local_bases=anything,
        files=anything,
        queue=queue,
        engine=anything,
        meter=anything,
        stopping=lambda: False,
    )
    return admission, queue


async def enter(admission: Admission, stack: AsyncExitStack) -> Admitted:
    return await stack.enter_async_context(admission.admit(WANTED))


async def test_a_registry_that_takes_its_time_takes_no_place(world: World) -> None:
    admission, queue = admission_of(world)
    async with AsyncExitStack() as stack:
        world.answers.clear()
        slow = [asyncio.ensure_future(enter(admission, stack)) for _ in range(2)]
        await until(lambda: queue.waiting == 0 and admission._under_way == 2)
        world.answers.set()
        # Those that the registry has answered wait as everybody does.
        await asyncio.gather(*slow)
        assert queue.waiting == 2
        with pytest.raises(Unavailable, match="2 requests of brands/acme wait already"):
            await enter(admission, stack)


async def test_a_base_model_that_is_fetched_takes_no_place(world: World) -> None:
    admission, queue = admission_of(world)
    async with AsyncExitStack() as stack:
        admitted = [await enter(admission, stack) for _ in range(2)]
        world.files.clear()
        located = [asyncio.ensure_future(each.prepared.located_base()) for each in admitted]
        await until(lambda: queue.waiting == 0)
        quick = [await enter(admission, stack) for _ in range(2)]
        with pytest.raises(Unavailable, match="wait for files or the registry already"):
            await quick[0].prepared.located_base()
        world.files.set()
        assert {base.path for base in await asyncio.gather(*located)} == {"/tiny"}
        assert queue.waiting == 4


async def test_who_gives_up_while_it_waits_aside_leaves_nothing(world: World) -> None:
    admission, queue = admission_of(world)
    async with AsyncExitStack() as stack:
        world.answers.clear()
        slow = asyncio.ensure_future(enter(admission, stack))
        await until(lambda: queue.waiting == 0 and admission._under_way == 1)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
    assert (queue.waiting, queue._fetching.all.waiting, admission._under_way) == (0, 0, 0)


async def test_exports_and_pins_that_wait_are_bounded_as_well(world: World) -> None:
    admission, queue = admission_of(world)

    async def prepare() -> None:
        async with admission.prepare(WANTED):
            pass

    world.answers.clear()
    slow = [asyncio.ensure_future(prepare()) for _ in range(2)]
    await until(lambda: queue._fetching.waiting("acme") == 2)
    with pytest.raises(Unavailable, match="2 requests of brands/acme wait for files or the registry already"):
        await prepare()
    world.answers.set()
    await asyncio.gather(*slow)
    assert (queue.waiting, queue._fetching.all.waiting) == (0, 0)
