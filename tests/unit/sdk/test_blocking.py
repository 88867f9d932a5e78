"""The blocking client: the same calls, waited for."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any, get_type_hints

import pytest

import brandloom
from brandloom import _async_client, _client
from brandloom._blocking import LoopThread, blocking, iterating
from brandloom._settings import ConnectionSettings
from brandloom.api.registry.v1 import registry_pb2_grpc
from tests.fakes.api_servers import FakeRegistry, serving

ADD_REGISTRY = registry_pb2_grpc.add_RegistryServiceServicer_to_server


def settings() -> ConnectionSettings:
    names = ("registry", "labeler", "trainer", "inference")
    return ConnectionSettings(addresses=dict.fromkeys(names, "127.0.0.1:1"), token="t", timeout_seconds=1)


def public(kind: type[Any]) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


async def test_every_asynchronous_method_has_its_blocking_twin() -> None:
    async with _async_client.AsyncClient(settings()) as client:
        groups = {name: group for name, group in vars(client).items() if not name.startswith("_")}
        with _client.Client(settings()) as twin:
            assert {name for name in vars(twin) if not name.startswith("_")} == set(groups)
            for name, group in groups.items():
                assert public(type(getattr(twin, name))) == public(type(group)), name


def test_what_streams_is_iterated_and_what_answers_is_waited_for() -> None:
    for kind in _client.Waiting.__subclasses__():
        for name in public(kind):
            twin = inspect.getattr_static(kind, name)
            streams = inspect.isasyncgenfunction(twin._method)
            assert isinstance(twin, iterating if streams else blocking), f"{kind.__name__}.{name}"


def test_no_signature_knows_a_message() -> None:
    for kind in _client.Waiting.__subclasses__():
        for name in public(kind):
            hints = get_type_hints(inspect.getattr_static(kind, name)._method)
            assert "return" in hints
            assert "brandloom.api" not in repr(hints), f"{kind.__name__}.{name}"


def test_help_and_signature_are_those_of_the_original() -> None:
    with _client.Client(settings()) as client:
        assert "AlreadyExists" in (client.brands.create.__doc__ or "")
        assert "display_name" in inspect.signature(client.brands.create).parameters


async def test_calls_from_ordinary_code() -> None:
    def use(address: str) -> list[str]:
        with brandloom.connect(registry=address, token="t") as client:
            client.brands.create("b")
            client.brands.create("a")
            return [brand.name for brand in client.brands.list()]

    async with serving(ADD_REGISTRY, FakeRegistry()) as address:
        assert await asyncio.to_thread(use, address) == ["brands/a", "brands/b"]


async def test_one_client_serves_many_threads() -> None:
    def use(address: str) -> set[str]:
        with brandloom.connect(registry=address, token="t") as client:
            threads = [threading.Thread(target=client.brands.create, args=(f"b{n}",)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return {brand.name for brand in client.brands.list()}

    async with serving(ADD_REGISTRY, FakeRegistry()) as address:
        assert await asyncio.to_thread(use, address) == {f"brands/b{n}" for n in range(8)}


def test_leaving_an_iteration_ends_its_source() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    loop = LoopThread()
    iteration = loop.iterate(numbers())
    assert next(iteration) == 0
    iteration.close()  # type: ignore[attr-defined]
    loop.close()
    assert closed == [True]


def test_an_interrupted_wait_cancels_the_work() -> None:
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    loop = LoopThread()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert cancelled.wait(2)
    loop.close()


def test_an_interrupted_iteration_lets_its_source_clean_up() -> None:
    cleaned: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.sleep(60)
            yield 2
        finally:
            await asyncio.sleep(0.05)
            cleaned.append(True)

    loop = LoopThread()
    with pytest.raises(KeyboardInterrupt):
        for number in loop.iterate(numbers()):
            assert number == 1
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert cleaned == [True]
    loop.close()


def test_closing_twice_is_harmless_and_leaves_no_thread() -> None:
    client = _client.Client(settings())
    client.close()
    client.close()
    assert "brandloom-client" not in {thread.name for thread in threading.enumerate()}


def test_use_inside_its_own_callback_is_refused() -> None:
    loop = LoopThread()

    async def inner() -> None:
        loop.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="asynchronous"):
        loop.run(inner())
    loop.close()


def test_importing_the_client_is_light() -> None:
    code = (
        "import sys, brandloom;"
        "heavy = {'torch', 'numpy', 'PIL', 'click', 'rich', 'yaml', 'lorakit', 'servicekit', 'services'};"
        "sys.exit(','.join(heavy & {name.partition('.')[0] for name in sys.modules}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
