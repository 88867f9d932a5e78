"""A replica that is told to stop finishes what it has, refuses what is new, and says so all the while."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from brandloom.api.inference.v1 import inference_pb2 as pb
from brandloom.api.inference.v1 import inference_pb2_grpc
from lorakit.families import sd15
from servicekit.channels import open_channel
from servicekit.errors import Unavailable
from servicekit.status import from_rpc_error
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.grpc.inference.harness import fill
from tests.grpc.registry.harness import TOKEN, running_registry
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
Status = health_pb2.HealthCheckResponse


@asynccontextmanager
async def service(home: Path, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A registry here, and the service as a process of its own whose engine is ready; and its port."""
    directory = save_tiny_pipeline(home / "base" / "tiny")
    async with running_registry(home, f"sqlite+aiosqlite:///{home}/registry.db") as registry:
        await fill(registry, directory, sd15.load_base(directory), home)
        log = home / "log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.inference"),
                cwd=ROOT,
                env={
                    **os.environ,
                    "BRANDLOOM_HOME": str(home),
                    "BRANDLOOM_TOKEN": TOKEN,
                    "BRANDLOOM_REGISTRY_ADDRESS": f"127.0.0.1:{registry.port}",
                    "BRANDLOOM_INFERENCE_LISTEN": "127.0.0.1:0",
                    "BRANDLOOM_INFERENCE_METRICS_LISTEN": "",
                    "BRANDLOOM_INFERENCE_BASE_MODEL": "baseModels/tiny",
                    "BRANDLOOM_INFERENCE_DEVICE": "cpu",
                    "BRANDLOOM_INFERENCE_THREADS": "1",
                    "BRANDLOOM_INFERENCE_MAX_ROWS": "4",
                    "BRANDLOOM_LOG_FORMAT": "json",
                    **environment,
                },
                stderr=output,
            )
        try:
            await until(lambda: "engine ready" in log.read_text(), seconds=150)
            port = re.search(r'"port": (\d+)', log.read_text())
            assert port is not None
            yield process, int(port[1])
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def pictures(call: Any, begun: asyncio.Event) -> int:
    """How many pictures a stream brings to its end."""
    number = 0
    async for message in call:
        begun.set()
        number += message.HasField("image")
    return number


@pytest.mark.timeout(300)
async def test_requests_in_flight_end_with_their_pictures(tmp_path: Path) -> None:
    async with (
        service(tmp_path, BRANDLOOM_INFERENCE_DRAIN_SECONDS="120") as (process, port),
        open_channel(f"127.0.0.1:{port}", token=TOKEN, max_message_bytes=32 << 20) as channel,
    ):
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        prompts = ("a fox", "<lora:hero:1> a fox", "<lora:neon:1> a fox") * 2
        running = []
        for prompt in prompts:  # four rows work, the others wait
            request = pb.GenerateImagesRequest(
                parent="brands/acme", prompt=prompt, steps=60, count=2, width=32, height=32
            )
            begun = asyncio.Event()
            running.append(asyncio.create_task(pictures(stub.GenerateImages(request), begun)))
            await begun.wait()
        process.send_signal(signal.SIGTERM)

        async def not_serving() -> bool:
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            return bool(answer.status == Status.NOT_SERVING)

        await until(not_serving, seconds=3.0)
        assert (await stub.GetCapacity(pb.GetCapacityRequest())).draining
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            request = pb.GenerateImagesRequest(parent="brands/acme", prompt="a fox", steps=2)
            await stub.GenerateImages(request, timeout=0.9).read()
        refusal = from_rpc_error(caught.value)
        assert isinstance(refusal, Unavailable)
        assert (refusal.reason, refusal.retry_after_seconds) == ("SERVER_STOPPING", 1.0)
        assert not any(task.done() for task in running)
        # Health answers for as long as anything is under way.
        while not all(task.done() for task in running):
            try:
                assert await not_serving()
            except grpc.aio.AioRpcError:  # it has ended meanwhile
                assert process.returncode is not None or all(task.done() for task in running)
            await asyncio.wait(running, timeout=0.2)
        assert [task.result() for task in running] == [2] * len(prompts)
        assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.timeout(300)
async def test_what_takes_longer_than_the_grace_is_cut(tmp_path: Path) -> None:
    async with (
        service(tmp_path, BRANDLOOM_INFERENCE_DRAIN_SECONDS="1") as (process, port),
        open_channel(f"127.0.0.1:{port}", token=TOKEN) as channel,
    ):
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        request = pb.GenerateImagesRequest(
            parent="brands/acme", prompt="a fox", steps=150, count=64, width=64, height=64
        )
        begun = asyncio.Event()
        running = asyncio.create_task(pictures(stub.GenerateImages(request), begun))
        await begun.wait()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert await asyncio.wait_for(process.wait(), 20) == 0
