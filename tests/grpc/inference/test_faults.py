"""The engine dies, the store goes away and disks lose bytes, all under traffic."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from brandloom.api.inference.v1 import inference_pb2 as pb
from servicekit.errors import Unavailable
from servicekit.status import from_rpc_error
from tests.fixtures.tiny_loras import write_lora
from tests.grpc.inference.harness import Answer, Inference, running_inference
from tests.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
LONG = {"steps": 150, "count": 16}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inference(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inference]:
    async with running_inference(tmp_path_factory.mktemp("faults")) as running:
        yield running


async def failure(call: grpc.aio.UnaryStreamCall) -> tuple[Unavailable, float]:
    """Of a stream that must break, and when it did."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    error = from_rpc_error(caught.value)
    assert isinstance(error, Unavailable), error
    return error, time.monotonic()


async def test_a_killed_engine_fails_its_requests_at_once_and_is_back_in_seconds(
    inference: Inference,
) -> None:
    stub = inference.stub
    prompts = ["a fox", "<lora:hero:1> a fox", "<lora:neon:0.5> a fox", "<lora:hero:1> <lora:neon:1> a fox"]
    calls = [stub.GenerateImages(inference.request(prompt=prompt, **LONG)) for prompt in prompts]
    for call in calls:
        while not (await call.read()).HasField("progress"):
            pass
    old = inference.app.engine.pid
    assert old is not None
    endings = [asyncio.create_task(failure(call)) for call in calls]
    killed = time.monotonic()
    os.kill(old, signal.SIGKILL)
    for error, ended in await asyncio.gather(*endings):
        assert (error.reason, ended - killed < 1.0) == ("ENGINE_UNAVAILABLE", True)
        assert error.retry_after_seconds is not None and error.retry_after_seconds > 0.5
    # Who has no time to wait is told how long it takes, and who has waits without knowing.
    error, _ = await failure(stub.GenerateImages(inference.request(), timeout=0.3))
    assert (error.reason, (error.retry_after_seconds or 0) > 0.3) == ("ENGINE_UNAVAILABLE", True)
    answer = await inference.generate(prompt="<lora:hero:1> a fox")
    assert len(answer.images) == 1
    assert time.monotonic() - killed < 40.0  # seconds, on a machine that has others to serve
    assert inference.app.service.capacity().queued_requests == 0


async def test_cached_stacks_serve_while_the_store_is_away(inference: Inference) -> None:
    await inference.generate(prompt="<lora:hero:1> a fox")
    file = write_lora(inference.base, inference.folder / "late.safetensors", seed=31)
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/late")
    store, away = inference.folder / "store", inference.folder / "store-away"
    store.rename(away)
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < 3.0:
            answers = await asyncio.gather(
                inference.generate(prompt="<lora:hero:1> a fox"),
                inference.generate(prompt="<lora:neon:0.3> <lora:hero:0.2> a fox"),
            )
            assert [len(answer.images) for answer in answers] == [1, 1]
        assert await inference.app.engine.ready()
        error, _ = await failure(
            inference.stub.GenerateImages(inference.request(prompt="<lora:late:1> a fox"), timeout=0.8)
        )
        assert error.reason == "STORE_UNAVAILABLE"
    finally:
        away.rename(store)
    assert len((await inference.generate(prompt="<lora:late:1> a fox")).images) == 1


async def test_a_damaged_file_in_the_cache_is_fetched_anew(inference: Inference) -> None:
    file = write_lora(inference.base, inference.folder / "frail.safetensors", seed=32)
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/frail")

    async def frail() -> Answer:
        return await inference.generate(prompt="<lora:frail:1> a fox")

    first = await frail()
    (kept,) = (inference.folder / "cache" / "inference").glob(f"{first.queued.stack[0].sha256}*")
    stat = kept.stat()
    damage(kept)
    os.utime(kept, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a failing disk does it
    old = inference.app.engine.pid
    assert old is not None
    os.kill(old, signal.SIGKILL)  # what it had in memory is gone with it
    await until(lambda: inference.app.engine.pid not in (None, old), seconds=20)
    await inference.engine_ready()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.gather(frail(), inference.generate(prompt="<lora:hero:1> a fox"))
    assert from_rpc_error(caught.value).reason == "LORA_FILE_INVALID"
    assert (await frail()).pixels().tolist() == first.pixels().tolist()


def damage(path: Path) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"\xff" * 8)


async def test_nothing_is_left_behind(inference: Inference) -> None:
    await until(lambda: inference.app.engine.state().active_rows == 0)
    capacity = await inference.stub.GetCapacity(pb.GetCapacityRequest())
    assert (capacity.queued_requests, capacity.draining) == (0, False)
    assert +inference.app.service.admission._files._leases == {}
