"""An S3 store that is away for half a minute, refusing connections or taking them and saying nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lorakit.families import sd15
from servicekit.status import from_rpc_error
from tests.fixtures.s3 import S3Server
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.grpc.inference.harness import Inference, fill, running_service
from tests.grpc.registry.harness import running_registry
from tests.servers.cutting_proxy import LeavingProxy

AWAY_SECONDS = 30.0
ENOUGH_SECONDS = 15.0  # clients try again by themselves
LATE = 12
MAX_QUEUED = 16
"""Of which a brand may have half: fewer than what waits for the store."""
THREADS = 4
"""That are for everybody: fewer than what waits for the store."""
CACHED = ("<lora:hero:1> a fox", "<lora:neon:0.3> <lora:hero:0.2> a fox", "a fox")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("silent", [False, True], ids=["refusing", "silent"])
async def test_cached_stacks_serve_and_the_others_are_refused(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, silent: bool
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    directory = save_tiny_pipeline(tmp_path / "base" / "tiny")
    base = sd15.load_base(directory)
    async with LeavingProxy(s3_server.endpoint) as proxy:
        settings = {
            "BRANDLOOM_STORE_URL": f"s3://{s3_bucket}",
            "BRANDLOOM_S3_ENDPOINT": proxy.endpoint,
            "BRANDLOOM_S3_ACCESS_KEY": s3_server.access_key,
            "BRANDLOOM_S3_SECRET_KEY": s3_server.secret_key,
            "BRANDLOOM_S3_REGION": s3_server.region,
            "BRANDLOOM_S3_SECURE": "false",
            "BRANDLOOM_INFERENCE_MAX_QUEUED": str(MAX_QUEUED),
        }
        database = f"sqlite+aiosqlite:///{tmp_path}/registry.db"
        async with running_registry(tmp_path, database, environment=settings) as registry:
            await fill(registry, directory, base, tmp_path)
            async with running_service(tmp_path, registry, base, **settings) as inference:
                await inference.engine_ready()
                for prompt in CACHED:
                    await inference.generate(prompt=prompt)
                for number in range(LATE):
                    late = write_lora(base, tmp_path / f"{number}.safetensors", seed=31 + number)
                    await registry.upload(late.read_bytes(), f"brands/acme/loras/late-{number}")
                await proxy.leave(silent=silent)
                served, ends = await asyncio.gather(serve(inference), be_refused(inference))
                await proxy.come_back()
                answers = await asyncio.gather(*(inference.generate(prompt=late_of(n)) for n in range(LATE)))
    assert served > 3 * len(CACHED)
    assert ends.total() >= LATE
    # A silent store is waited for: by no more than there is room for, and no longer than who asks can.
    assert set(ends) <= {"STORE_UNAVAILABLE", "QUEUE_FULL", *(["DEADLINE_EXCEEDED"] if silent else [])}
    assert ("QUEUE_FULL" if silent else "STORE_UNAVAILABLE") in ends
    assert [len(answer.images) for answer in answers] == [1] * LATE


def late_of(number: int) -> str:
    return f"<lora:late-{number}:1> a fox"


async def serve(inference: Inference) -> int:
    """Pictures with stacks that are here, for as long as the store is away; the service is well meanwhile."""
    health = health_pb2_grpc.HealthStub(inference.channel)
    served, until = 0, time.monotonic() + AWAY_SECONDS
    while time.monotonic() < until:
        begun = time.monotonic()
        answers = await asyncio.gather(*(inference.generate(prompt=prompt) for prompt in CACHED))
        assert [len(answer.images) for answer in answers] == [1] * len(CACHED)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert time.monotonic() - begun < 5.0
        served += len(answers)
    return served


async def be_refused(inference: Inference) -> Counter[str]:
    """Requests for stacks that only the store has: the reasons of their ends."""
    until = time.monotonic() + AWAY_SECONDS - ENOUGH_SECONDS

    async def ask(number: int) -> list[str]:
        reasons = []
        while time.monotonic() < until:
            call = inference.stub.GenerateImages(
                inference.request(prompt=late_of(number)), timeout=ENOUGH_SECONDS
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in call:
                    pass
            reasons.append(from_rpc_error(caught.value).reason)
        return reasons

    return Counter(chain(*await asyncio.gather(*map(ask, range(LATE)))))
