"""Many requests at once, of many brands' stacks, with cancels and deadlines: all end, and nothing is left."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import resources_pb2
from tests.fixtures.tiny_loras import write_lora
from tests.grpc.inference.flood import OTHERWISE, Patience, ending, engine_bytes, left_over, service_bytes
from tests.grpc.inference.harness import Inference, running_inference
from tests.waiting import until

BRANDS = ("acme", "bolt", "corn", "dusk", "elm")
LORAS = 10
"""Of each brand: fifty stacks are of these."""
HEALTH_SECONDS = 2.0


@pytest.mark.parametrize(
    ("requests", "queued"),
    [
        (60, 60),
        (60, 10),  # most are refused, and come again as they are told to
        pytest.param(1000, 1000, marks=[pytest.mark.slow, pytest.mark.timeout(1500)]),
        pytest.param(1000, 50, marks=[pytest.mark.slow, pytest.mark.timeout(1500)]),
    ],
)
async def test_all_requests_end_and_nothing_is_left(tmp_path: Path, requests: int, queued: int) -> None:
    async with running_inference(
        tmp_path, BRANDLOOM_INFERENCE_MAX_QUEUED=str(queued), BRANDLOOM_INFERENCE_BRAND_SHARE="0.4"
    ) as inference:
        await fill(inference, tmp_path)
        await inference.generate()  # what is made once is there before memory is looked at
        rng = random.Random(4)
        watch = asyncio.create_task(slowest_health(inference))
        before, service_before = engine_bytes(inference.app), service_bytes()
        ends = Counter(await asyncio.gather(*(one(inference, rng, number) for number in range(requests))))
        watch.cancel()
        await asyncio.wait({watch})
        grown, service_grown = engine_bytes(inference.app) - before, service_bytes() - service_before
        await until(lambda: inference.app.engine.state().active_rows == 0 and not left_over(inference.app))
        capacity = await inference.stub.GetCapacity(inference_pb2.GetCapacityRequest())
        again = await inference.generate()
    assert sum(ends.values()) == requests
    assert set(ends) <= {"done", "UNAVAILABLE", *(code.name for code in OTHERWISE)}
    assert ends["done"] > (requests // 2 if queued == requests else queued)
    assert ends["CANCELLED"] > 0
    assert (capacity.active_rows, capacity.queued_requests) == (0, 0)
    assert len(again.images) == 1
    assert inference.app.engine.starts == 1
    assert service_grown < 96 << 20
    assert grown < 256 << 20
    slowest, asked = watch.result()
    assert asked > 3
    assert slowest < HEALTH_SECONDS


async def one(inference: Inference, rng: random.Random, number: int) -> str:
    """One request's end: done, or the status that it ended with; the client goes away now and then."""
    brand = rng.choice(BRANDS)
    stack = " ".join(
        f"<lora:lora-{rng.randrange(LORAS)}:{rng.uniform(-1, 1):.2f}>" for _ in range(rng.randrange(4))
    )
    fields: dict[str, Any] = {
        "parent": f"brands/{brand}",
        "prompt": f"{stack} a fox",
        "steps": rng.randrange(1, 5),
        "seed": number,
        "priority": rng.randrange(-3, 4),
    }
    patience = Patience.drawn(rng)
    await asyncio.sleep(rng.uniform(0, 1))
    call = inference.stub.GenerateImages(inference.request(**fields), timeout=patience.timeout)
    patience.watch(call)

    async def read() -> str:
        images = sum([message.HasField("image") async for message in call])
        return "done" if images == 1 else f"{images} images"

    return await ending(read())


async def slowest_health(inference: Inference) -> tuple[float, int]:
    """Asks for health until cancelled: (the longest time an answer took, answers)."""
    stub = health_pb2_grpc.HealthStub(inference.channel)
    slowest, asked = 0.0, 0
    try:
        while True:
            started = time.monotonic()
            answer = await stub.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            slowest = max(slowest, time.monotonic() - started)
            asked += 1
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return slowest, asked


async def fill(inference: Inference, folder: Path) -> None:
    """Every brand with its LoRAs."""
    version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
    for index, brand in enumerate(BRANDS):
        if brand != "acme":
            await inference.registry.brand(brand)
        for number in range(LORAS):
            file = write_lora(
                inference.base, folder / f"{brand}-{number}.safetensors", seed=100 * index + number, rank=4
            )
            await inference.registry.upload(
                file.read_bytes(), f"brands/{brand}/loras/lora-{number}", version=version
            )
