"""Two replicas of the service and one registry whose LoRAs change under their traffic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest

from brandloom.api.inference.v1 import inference_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from lorakit.families import sd15
from servicekit.channels import open_channel
from tests.fakes.identities import GUEST_TOKEN
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.grpc.inference.harness import Inference, fill, running_service
from tests.grpc.registry.harness import Registry, read_refusal, running_registry
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)
HERO = "brands/acme/loras/hero"


@dataclass(slots=True)
class Traffic:
    """Requests one after the other; what each of them used, and when it was begun."""

    replica: Inference
    prompt: str = "<lora:hero@prod:1> a fox"
    used: list[tuple[float, str]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    async def go_on(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            begun = time.monotonic()
            try:
                answer = await self.replica.generate(prompt=self.prompt, steps=2)
                assert len(answer.images) == 1
                self.used.append((begun, answer.queued.stack[0].version.rpartition("/")[2]))
            except (grpc.aio.AioRpcError, AssertionError) as error:
                self.errors.append(error)


@asynccontextmanager
async def traffic(*streams: Traffic) -> AsyncIterator[None]:
    ended = asyncio.Event()
    tasks = [asyncio.create_task(stream.go_on(ended)) for stream in streams]
    try:
        yield
    finally:
        ended.set()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def replicas(home: Path, registry: Registry, base: sd15.BaseModel) -> AsyncIterator[list[Inference]]:
    async with (
        running_service(home, registry, base, BRANDLOOM_INFERENCE_CACHE=str(home / "one")) as one,
        running_service(home, registry, base, BRANDLOOM_INFERENCE_CACHE=str(home / "two")) as two,
    ):
        for replica in (one, two):
            await replica.engine_ready()
            await until(lambda replica=replica: replica.app.registry.live)
        yield [one, two]


async def add_version(registry: Registry, base: sd15.BaseModel, home: Path, seed: int) -> bytes:
    file = write_lora(base, home / f"hero-{seed}.safetensors", seed=seed)
    version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
    await registry.upload(file.read_bytes(), HERO, version=version)
    return file.read_bytes()


async def move(registry: Registry, number: int) -> float:
    await registry.stub.SetAlias(registry_pb2.SetAliasRequest(lora=HERO, alias="prod", version=number))
    return time.monotonic()


def calls(registry: Registry, method: str) -> float:
    handled = registry.metrics.rpc_started.labels(
        rpc_service="brandloom.api.registry.v1.RegistryService", rpc_method=method
    )
    return handled._value.get()


def has(streams: list[Traffic], wanted: str) -> Callable[[], bool]:
    return lambda: all(stream.used and stream.used[-1][1] == wanted for stream in streams)


async def test_an_alias_moves_under_traffic_and_a_registry_dies_and_comes_back(tmp_path: Path) -> None:
    directory = save_tiny_pipeline(tmp_path / "base" / "tiny")
    base = sd15.load_base(directory)
    url = f"sqlite+aiosqlite:///{tmp_path}/registry.db"
    async with running_registry(tmp_path, url) as registry:
        await fill(registry, directory, base, tmp_path)
        await add_version(registry, base, tmp_path, 11)
        async with replicas(tmp_path, registry, base) as both:
            streams = [Traffic(replica) for replica in both for _ in range(2)]
            async with traffic(*streams):
                await until(has(streams, "1"))
                before = calls(registry, "ResolveStack")
                served = sum(len(stream.used) for stream in streams)
                await asyncio.sleep(1.0)
                assert sum(len(stream.used) for stream in streams) > served
                assert calls(registry, "ResolveStack") == before
                for number in (2, 1, 2):
                    moved = await move(registry, number)
                    await asyncio.sleep(2.5)
                    late = [used for stream in streams for at, used in stream.used if at > moved + 2.0]
                    assert late and set(late) == {str(number)}
                # The registry dies: what is known goes on, what is not says so.
                await registry.server.stop(0)
                await until(lambda: not any(replica.app.registry.live for replica in both))
                counts = [len(stream.used) for stream in streams]
                await until(lambda: all(len(s.used) > n for s, n in zip(streams, counts, strict=True)))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await (
                        both[0]
                        .stub.GenerateImages(both[0].request(prompt="<lora:neon:1> a fox"), timeout=8.0)
                        .read()
                    )
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                assert read_refusal(caught.value).reason == "REGISTRY_UNAVAILABLE"
                back = {"BRANDLOOM_REGISTRY_LISTEN": f"127.0.0.1:{registry.port}"}
                async with running_registry(tmp_path, url, environment=back) as again:
                    moved = await move(again, 1)
                    await until(lambda: all(replica.app.registry.live for replica in both))
                    await until(has(streams, "1"), seconds=4.0)
                    assert len((await both[0].generate(prompt="<lora:neon:1> a fox")).images) == 1
                    late = [used for stream in streams for at, used in stream.used if at > moved + 2.5]
                    assert set(late) <= {"1"}
                    await a_guest_gets_nothing_out_of_the_memory(both[0])
            assert [error for stream in streams for error in stream.errors] == []
            assert both[0].app.service.capacity().resolutions.stale_hits > 0


async def a_guest_gets_nothing_out_of_the_memory(replica: Inference) -> None:
    """A caller of another brand names LoRAs that are remembered."""
    await replica.generate(prompt="<lora:acme/hero:1> a fox")
    async with open_channel(f"127.0.0.1:{replica.port}", token=GUEST_TOKEN) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for fields in ({"parent": "brands/globex"}, {"prompt": "<lora:globex/hero:1> a fox"}):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GenerateImages(replica.request(**fields)).read()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_damaged_new_version_fails_its_own_requests_alone(tmp_path: Path) -> None:
    directory = save_tiny_pipeline(tmp_path / "base" / "tiny")
    base = sd15.load_base(directory)
    async with running_registry(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/registry.db") as registry:
        await fill(registry, directory, base, tmp_path)
        async with running_service(tmp_path, registry, base) as replica:
            await replica.engine_ready()
            others = Traffic(replica, "<lora:neon:1> a fox")
            pinned = Traffic(replica, "<lora:hero@1:1> a fox")
            async with traffic(others, pinned):
                await until(has([others, pinned], "1"))
                blobs = set((tmp_path / "store" / "sha256").rglob("?" * 64))
                content = await add_version(registry, base, tmp_path, 12)
                (blob,) = set((tmp_path / "store" / "sha256").rglob("?" * 64)) - blobs
                blob.chmod(0o600)
                blob.write_bytes(content[:-8] + b"\x00" * 8)
                await move(registry, 2)
                await asyncio.sleep(2.0)
                for _ in range(3):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await replica.generate(prompt="<lora:hero@prod:1> a fox")
                    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
                blob.write_bytes(content)  # mended: fetched anew
                answer = await replica.generate(prompt="<lora:hero@prod:1> a fox")
                assert answer.queued.stack[0].version.endswith("versions/2")
            assert (others.errors, pinned.errors) == ([], [])
