"""PinStack, and pins of the configuration, with a real registry and engine process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from brandloom.api.inference.v1 import inference_pb2 as pb
from brandloom.api.inference.v1 import inference_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from servicekit.channels import open_channel
from tests.fakes.identities import GUEST_TOKEN
from tests.fixtures.tiny_loras import write_lora
from tests.grpc.inference.harness import Inference, running_inference, running_service
from tests.grpc.registry.harness import Refusal, read_refusal
from tests.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inference(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inference]:
    async with running_inference(
        tmp_path_factory.mktemp("pins"),
        BRANDLOOM_INFERENCE_WARM="acme: <lora:neon:0.5>",
        BRANDLOOM_INFERENCE_MAX_PINS="4",
        BRANDLOOM_INFERENCE_MAX_BRAND_PINS="3",
    ) as running:
        yield running


async def pin(inference: Inference, *references: str, seconds: float, brand: str = "acme") -> Any:
    return await inference.stub.PinStack(
        pb.PinStackRequest(
            parent=f"brands/{brand}",
            stack=[pb.StackEntry(reference=reference) for reference in references],
            time_to_live=timedelta(seconds=seconds),
        )
    )


async def refused(inference: Inference, *references: str, seconds: float, brand: str = "acme") -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pin(inference, *references, seconds=seconds, brand=brand)
    return read_refusal(caught.value)


async def pinned(stub: Any) -> dict[str, pb.PinnedStack]:
    """Pins by their references."""
    capacity = await stub.GetCapacity(pb.GetCapacityRequest())
    return {" ".join(used.reference for used in one.stack): one for one in capacity.pins}


def used(inference: Inference, level: str) -> int:
    caches = {cache.level: cache for cache in inference.app.service.capacity().caches}
    return caches[level].used_bytes if level in caches else 0


async def test_configured_stacks_are_loaded_at_the_start_and_stay(inference: Inference) -> None:
    async def there() -> bool:
        return "neon" in await pinned(inference.stub)

    await until(there, seconds=20.0)
    (neon,) = (await pinned(inference.stub)).values()
    assert (neon.parent, neon.base_model_sha256) == ("brands/acme", inference.base.sha256)
    assert neon.stack[0].version == "brands/acme/loras/neon/versions/1"
    assert neon.stack[0].weight == 0.5
    assert not neon.HasField("expire_time")
    # Loaded before anybody asked for a picture.
    await until(lambda: used(inference, "memory") > 0 and used(inference, "device") > 0)
    assert list((inference.folder / "cache" / "inference").glob(f"{neon.stack[0].sha256}*"))


async def test_a_pin_lasts_as_long_as_it_is_asked_for(inference: Inference) -> None:
    before = datetime.now(UTC)
    answer = await pin(inference, "hero", "neon", seconds=3600)
    expires = answer.expire_time.ToDatetime(UTC)
    assert timedelta(seconds=3595) < expires - before < timedelta(seconds=3605)
    assert [used.version.rpartition("/")[0] for used in answer.stack] == [
        "brands/acme/loras/hero/versions",
        "brands/acme/loras/neon/versions",
    ]
    later = await pin(inference, "hero", "neon", seconds=7200)
    assert later.expire_time.ToDatetime(UTC) > expires
    assert len(await pinned(inference.stub)) == 2
    gone = await pin(inference, "neon", "hero", seconds=0)  # a sum has no order
    assert not gone.HasField("expire_time")
    assert set(await pinned(inference.stub)) == {"neon"}
    again = await pin(inference, "hero", "neon", seconds=0)
    assert (list(again.stack), again.HasField("expire_time")) == ([], False)
    await pin(inference, "hero", seconds=1)
    assert "hero" in await pinned(inference.stub)

    async def expired() -> bool:
        return "hero" not in await pinned(inference.stub)

    await until(expired, seconds=3.0)


async def test_pins_are_bounded_and_checked(inference: Inference) -> None:
    await inference.registry.brand("globex")
    await pin(inference, "hero", seconds=60)
    await pin(inference, "hero@1", seconds=60)
    full = await refused(inference, "neon@1", seconds=60)
    assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "PINS_FULL")
    await pin(inference, "acme/hero", seconds=60, brand="globex")
    assert (await refused(inference, "acme/neon", seconds=60, brand="globex")).reason == "PINS_FULL"
    async with open_channel(f"127.0.0.1:{inference.port}", token=GUEST_TOKEN) as channel:
        guest = inference_pb2_grpc.InferenceServiceStub(channel)
        assert {one.parent for one in (await pinned(guest)).values()} == {"brands/acme"}
        for parent, reference in (("brands/globex", "hero"), ("brands/acme", "globex/hero")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                request = pb.PinStackRequest(
                    parent=parent,
                    stack=[pb.StackEntry(reference=reference)],
                    time_to_live=timedelta(seconds=60),
                )
                await guest.PinStack(request)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert {one.parent for one in (await pinned(inference.stub)).values()} == {
        "brands/acme",
        "brands/globex",
    }
    await pin(inference, "hero@1", seconds=0)
    unknown = await refused(inference, "nobody", seconds=60)
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LORA_NOT_FOUND")
    assert "stack[0].reference" in unknown.fields
    for entry, field in (
        (pb.StackEntry(reference="hero", region=pb.Region(mask_png=b"none")), "stack[0].region.mask_png"),
        (pb.StackEntry(reference="hero", window=pb.StepWindow(start=0.5, end=0.5)), "stack[0].window"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await inference.stub.PinStack(
                pb.PinStackRequest(parent="brands/acme", stack=[entry], time_to_live=timedelta(seconds=60))
            )
        assert list(read_refusal(caught.value).fields) == [field]
    for seconds in (-1, 25 * 3600):
        wrong = await refused(inference, "hero", seconds=seconds)
        assert (wrong.code, list(wrong.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["time_to_live"])
    await pin(inference, "acme/hero", seconds=0, brand="globex")


async def test_pins_survive_the_engine_and_follow_the_registry(inference: Inference) -> None:
    await pin(inference, "hero@prod", seconds=600)
    old = inference.app.engine.pid
    assert old is not None
    os.kill(old, signal.SIGKILL)
    await until(lambda: inference.app.engine.pid not in (None, old), seconds=20)
    await inference.engine_ready()
    # Nobody has asked for a picture since.
    await until(lambda: used(inference, "device") > 0, seconds=20)
    assert {"hero@prod", "neon"} <= set(await pinned(inference.stub))

    file = write_lora(inference.base, inference.folder / "hero-2.safetensors", seed=21)
    version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/hero", version=version)
    await inference.registry.stub.SetAlias(
        registry_pb2.SetAliasRequest(lora="brands/acme/loras/hero", alias="prod", version=2)
    )

    async def moved() -> bool:
        return (await pinned(inference.stub))["hero@prod"].stack[0].version.endswith("versions/2")

    await until(moved, seconds=3.0)
    assert list((inference.folder / "cache" / "inference").glob("*.safetensors"))
    answer = await inference.generate(prompt="<lora:hero@prod:1> a fox")
    assert answer.queued.stack[0].version.endswith("versions/2")

    await inference.registry.stub.DeleteAlias(
        registry_pb2.DeleteAliasRequest(lora="brands/acme/loras/hero", alias="prod")
    )

    async def gone() -> bool:
        return "hero@prod" not in await pinned(inference.stub)

    await until(gone, seconds=3.0)
    await asyncio.sleep(0.2)
    assert "neon" in await pinned(inference.stub)


async def test_a_pin_moves_though_old_and_new_do_not_fit_together(inference: Inference) -> None:
    little = {"BRANDLOOM_INFERENCE_LORA_MEMORY_MIB": "1", "BRANDLOOM_INFERENCE_STACK_MEMORY_MIB": "1"}
    lora = "brands/acme/loras/mover"
    for number, rank in enumerate((4, 10, 24), start=1):
        file = write_lora(
            inference.base, inference.folder / f"mover-{number}.safetensors", seed=31, rank=rank
        )
        await inference.registry.upload(
            file.read_bytes(), lora, version=resources_pb2.LoraVersion(base_model="baseModels/tiny")
        )

    async def move(version: int) -> None:
        request = registry_pb2.SetAliasRequest(lora=lora, alias="prod", version=version)
        await inference.registry.stub.SetAlias(request)

    await move(1)
    async with running_service(inference.folder, inference.registry, inference.base, **little) as small:
        await small.engine_ready()
        await pin(small, "mover@prod", seconds=600)

        async def at(version: int) -> bool:
            return (await pinned(small.stub))["mover@prod"].stack[0].version == f"{lora}/versions/{version}"

        assert await at(1)
        one = used(small, "memory")
        await move(2)
        await until(partial(at, 2), seconds=8.0)
        await until(lambda: used(small, "memory") > 2 * one, seconds=8.0)
        # More than pins may have: what was there stays.
        await move(3)
        await asyncio.sleep(2.0)
        assert await at(2)
        answer = await small.generate(prompt="<lora:mover@prod:1> a fox")
        assert answer.queued.stack[0].version == f"{lora}/versions/3"
