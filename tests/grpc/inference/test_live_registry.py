"""Resolutions that are remembered, over a real registry that changes, goes away and comes back."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import resources_pb2
from servicekit.channels import open_channel
from servicekit.errors import InvalidArgument, NotFound, Unavailable
from services.inference.domain_jobs import ResolvedStack
from services.inference.live_registry import LiveRegistry
from services.inference.registry_client import RegistryClient
from tests.grpc.registry.harness import TOKEN, Registry, running_registry
from tests.grpc.registry.lora_files import kohya_file
from tests.waiting import until

HERO = "brands/acme/loras/hero"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Slow(RegistryClient):
    """Holds answers back while it is told to."""

    def __init__(self, channel: object) -> None:
        super().__init__(channel)  # type: ignore[arg-type]
        self.calls = 0
        self.answered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def resolve_stack(self, brand: str, references: Sequence[str], base_model: str) -> ResolvedStack:
        self.calls += 1
        answer = await super().resolve_stack(brand, references, base_model)
        self.answered.set()
        await self.go_on.wait()
        return answer


@asynccontextmanager
async def live(port: int, *, entries: int = 100, stale_seconds: float = 60.0) -> AsyncIterator[LiveRegistry]:
    async with open_channel(f"127.0.0.1:{port}", token=TOKEN) as channel:
        registry = LiveRegistry(Slow(channel), max_entries=entries, stale_seconds=stale_seconds)
        registry.start()
        try:
            yield registry
        finally:
            await registry.stop()


def origin_of(registry: LiveRegistry) -> Slow:
    assert isinstance(registry._origin, Slow)
    return registry._origin


async def version(registry: LiveRegistry, reference: str = "hero", base_model: str = "") -> str:
    stack = await registry.resolve_stack("acme", [reference], base_model)
    return stack.loras[0].version.rpartition("/")[2]


@asynccontextmanager
async def filled(home: Path, port: int = 0, database: str = "registry") -> AsyncIterator[Registry]:
    environment = {"BRANDLOOM_REGISTRY_LISTEN": f"127.0.0.1:{port}"}
    url = f"sqlite+aiosqlite:///{home}/{database}.db"
    async with running_registry(home, url, environment=environment) as registry:
        yield registry


async def add_version(registry: Registry, seed: int) -> None:
    await registry.upload(kohya_file(seed=seed), HERO)


async def set_prod(registry: Registry, number: int) -> None:
    await registry.stub.SetAlias(pb.SetAliasRequest(lora=HERO, alias="prod", version=number))


async def told(known: LiveRegistry, number: int) -> None:
    """Returns when the change of that number has come: until then an answer may be forgotten again."""
    await until(lambda: known._feed._last is not None and known._feed._last.sequence == number)


async def test_questions_that_were_answered_are_not_asked_again(tmp_path: Path) -> None:
    async with filled(tmp_path) as registry:
        await registry.brand("acme")
        await add_version(registry, 1)
        async with live(registry.port) as known:
            await until(lambda: known.live)
            assert [await version(known) for _ in range(50)] == ["1"] * 50
            assert origin_of(known).calls == 1
            together = await asyncio.gather(*(version(known, "hero@1") for _ in range(50)))
            assert (set(together), origin_of(known).calls) == ({"1"}, 2)
            usage = known.usage()
            assert (usage.hits, usage.misses, usage.entries, usage.stale_hits) == (49, 51, 2, 0)
            assert usage.age_seconds < 0.1
            for brand, wrong, error in (("acme", "nobody", InvalidArgument), ("nobody", "hero", NotFound)):
                for _ in range(2):
                    with pytest.raises(error):
                        await known.resolve_stack(brand, [wrong] if brand == "acme" else [], "")


async def test_every_change_is_seen_within_two_seconds(tmp_path: Path) -> None:
    async with filled(tmp_path) as registry, live(registry.port) as known:
        await registry.brand("acme")
        await add_version(registry, 1)
        await until(lambda: known.live)

        async def means(reference: str, wanted: str) -> None:
            async def holds() -> bool:
                return await version(known, reference) == wanted

            await until(holds, seconds=2.0)

        await means("hero", "1")
        await add_version(registry, 2)
        await means("hero", "2")
        await set_prod(registry, 1)
        await means("hero", "1")
        await means("hero@prod", "1")
        await set_prod(registry, 2)
        await means("hero@prod", "2")
        await registry.stub.DeleteAlias(pb.DeleteAliasRequest(lora=HERO, alias="prod"))

        async def refused(reference: str) -> bool:
            try:
                await version(known, reference)
            except InvalidArgument:
                return True
            return False

        await until(lambda: refused("hero@prod"), seconds=2.0)
        await registry.stub.DeleteLora(pb.DeleteLoraRequest(name=HERO, force=True))
        await until(lambda: refused("hero"), seconds=2.0)
        assert known.usage().entries == 0


async def test_brands_and_base_models_are_followed_too(tmp_path: Path) -> None:
    async with filled(tmp_path) as registry, live(registry.port) as known:
        for brand in ("acme", "globex"):
            await registry.brand(brand)
        await registry.base("tiny")
        await until(lambda: known.live)

        async def source() -> str:
            stack = await known.resolve_stack("globex", [], "baseModels/tiny")
            assert stack.base is not None
            return stack.base.source

        async def missing() -> bool:
            try:
                await source()
            except NotFound:
                return True
            return False

        assert await source() == "demo/models/tiny"
        moved = resources_pb2.BaseModel(name="baseModels/tiny", source="/elsewhere/tiny")
        await registry.stub.UpdateBaseModel(
            pb.UpdateBaseModelRequest(base_model=moved, update_mask=FieldMask(paths=["source"]))
        )

        async def elsewhere() -> bool:
            return await source() == "/elsewhere/tiny"

        await until(elsewhere, seconds=2.0)
        await registry.stub.DeleteBaseModel(pb.DeleteBaseModelRequest(name="baseModels/tiny"))
        await until(missing, seconds=2.0)
        await registry.base("tiny")
        assert await source() == "demo/models/tiny"
        await registry.stub.DeleteBrand(pb.DeleteBrandRequest(name="brands/globex"))
        await until(missing, seconds=2.0)


async def test_a_change_while_the_answer_is_on_its_way_is_not_lost(tmp_path: Path) -> None:
    async with filled(tmp_path) as registry, live(registry.port) as known:
        await registry.brand("acme")
        await add_version(registry, 1)
        await until(lambda: known.live)
        origin = origin_of(known)
        origin.go_on.clear()
        early = asyncio.create_task(version(known))
        await origin.answered.wait()
        changes: list[None] = []
        known.on_change = lambda: changes.append(None)
        await add_version(registry, 2)
        await until(lambda: changes)
        # Who asks now does not wait for the old answer.
        late = asyncio.create_task(version(known))
        await until(lambda: origin.calls == 2)
        origin.go_on.set()
        assert (await early, await late, await version(known)) == ("1", "2", "2")


async def test_old_answers_serve_while_the_registry_is_away(tmp_path: Path) -> None:
    port = free_port()
    async with live(port, stale_seconds=10.0) as known:
        async with filled(tmp_path, port) as registry:
            await until(lambda: known.live)
            await registry.brand("acme")
            await add_version(registry, 1)
            await told(known, 2)
            assert await version(known) == "1"
        await until(lambda: not known.live)
        begun = time.monotonic()
        assert [await version(known) for _ in range(20)] == ["1"] * 20
        assert time.monotonic() - begun < 5.0
        with pytest.raises(Unavailable) as caught:
            await version(known, "hero@1")
        assert caught.value.reason == "REGISTRY_UNAVAILABLE"
        assert caught.value.retry_after_seconds is not None
        assert known.usage().stale_hits == 20
        assert known.usage().age_seconds > 0

        async def too_old() -> bool:
            try:
                await version(known)
            except Unavailable:
                return True
            return False

        await until(too_old, seconds=20.0)
        assert time.monotonic() - begun > 3.0
        async with filled(tmp_path, port):
            await until(lambda: known.live, seconds=3.0)
            assert await version(known) == "1"


async def test_changes_during_a_gap_are_read_after_it(tmp_path: Path) -> None:
    port = free_port()
    async with live(port) as known, filled(tmp_path) as replica:
        async with filled(tmp_path, port):
            await replica.brand("acme")
            await until(lambda: known.live)
            await add_version(replica, 1)
            await replica.upload(kohya_file(seed=7), "brands/acme/loras/neon")
            await told(known, 4)
            assert (await version(known), await version(known, "neon")) == ("1", "1")
        await until(lambda: not known.live)
        await add_version(replica, 2)
        async with filled(tmp_path, port):
            await until(lambda: known.live, seconds=4.0)
            calls = origin_of(known).calls
            assert (await version(known), await version(known, "neon")) == ("2", "1")
            # Only what has changed is asked for again.
            assert origin_of(known).calls == calls + 1


async def test_nothing_is_believed_of_another_registry(tmp_path: Path) -> None:
    port = free_port()
    async with live(port) as known:
        async with filled(tmp_path, port) as registry:
            await registry.brand("acme")
            await until(lambda: known.live)
            for seed in (1, 2, 3):
                await add_version(registry, seed)
            await told(known, 4)
            assert await version(known) == "3"
        await until(lambda: not known.live)
        async with filled(tmp_path, port, "other") as other:
            await other.brand("acme")
            await add_version(other, 9)
            await until(lambda: known.live, seconds=8.0)
            assert await version(known) == "1"


async def test_the_memory_is_bounded(tmp_path: Path) -> None:
    async with filled(tmp_path) as registry, live(registry.port, entries=3) as known:
        await registry.brand("acme")
        await until(lambda: known.live)
        for number in range(6):
            await registry.upload(kohya_file(seed=number), f"brands/acme/loras/lora-{number}")
        await told(known, 12)
        for number in range(6):
            assert await version(known, f"lora-{number}") == "1"
        assert known.usage().entries == 3
        # A stack larger than the memory is answered all the same.
        stack = await known.resolve_stack("acme", [f"lora-{number}" for number in range(6)], "")
        assert len(stack.loras) == 6
