"""The labeler as a process: it starts, stops cleanly, and is killed in the middle of a job."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest

from brandloom.api.labeler.v1 import labeler_pb2_grpc
from servicekit.artifacts.local import LocalStore
from servicekit.channels import open_channel
from servicekit.metrics import ServiceMetrics
from tests.fixtures.pictures import png
from tests.fixtures.tiny_blip import save_tiny_blip
from tests.grpc.labeler.harness import TOKEN, Labeler, environment
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)


class Process:
    """`python -m services.labeler`."""

    def __init__(self, home: Path, **more: str) -> None:
        url = f"sqlite+aiosqlite:///{home}/labeler.db"
        self._environment = {**os.environ, **environment(home, url, **more)}
        self._home = home

    async def start(self) -> int:
        """Returns the port when it serves."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.labeler", env=self._environment, stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            if found := re.search(r"serving.*port.*?=.*?(\d{4,5})\x1b?", line):
                self._drain = asyncio.create_task(self.process.stderr.read())
                return int(found[1])
        raise AssertionError("the labeler ended before it served")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            await self.end(signal.SIGKILL)

    async def end(self, number: int) -> int:
        """Sends the signal; returns the exit status."""
        self.process.send_signal(number)
        status = await self.process.wait()
        await self._drain
        return status

    def children(self) -> list[int]:
        """Process ids of the workers."""
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in listing.read_text().split()]


@asynccontextmanager
async def connected(home: Path, port: int) -> AsyncIterator[Labeler]:
    channel = open_channel(f"127.0.0.1:{port}", token=TOKEN)
    stub = labeler_pb2_grpc.LabelerServiceStub(channel)
    yield Labeler(stub, LocalStore(home / "store"), ServiceMetrics("labeler"), f"127.0.0.1:{port}")
    await channel.close()


async def test_a_job_survives_the_death_of_its_service(tmp_path: Path) -> None:
    model = save_tiny_blip(tmp_path / "blip")
    settings = {"BRANDLOOM_LABELER_CAPTIONER": str(model), "BRANDLOOM_LABELER_LEASE_SECONDS": "1"}
    async with Process(tmp_path, **settings) as labeler:
        await kill_and_restart(tmp_path, labeler)


async def kill_and_restart(tmp_path: Path, labeler: Process) -> None:
    async with connected(tmp_path, await labeler.start()) as client:
        parent = await client.dataset()
        await client.upload(parent, {f"{n}.png": png(n) for n in range(24)})
        job = await client.create_job(parent, batch_size=1, max_tokens=100)

        async def has_begun() -> bool:
            return bool(await client.images(parent, "caption:*"))

        await until(has_begun, seconds=400, poll=0.5)
        workers = labeler.children()
        assert len(workers) == 2
        assert await labeler.end(signal.SIGKILL) == -signal.SIGKILL
    await until(lambda: not any(is_alive(pid) for pid in workers), seconds=30)
    async with connected(tmp_path, await labeler.start()) as client:
        events = await client.watch(job.name)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        labeled = [event.labeled.image for event in events if event.HasField("labeled")]
        assert len(labeled) == len(set(labeled)) == 24
        assert len(await client.images(parent, "caption:*")) == 24
        workers = labeler.children()
        assert await labeler.end(signal.SIGTERM) == 0
    await until(lambda: not any(is_alive(pid) for pid in workers), seconds=30)


async def test_bad_settings_are_told_together(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.labeler",
        env={
            **os.environ,
            **environment(tmp_path, "sqlite+aiosqlite:///x.db"),
            "BRANDLOOM_LABELER_LISTEN": "nowhere",
            "BRANDLOOM_LABELER_DECODERS": "0",
            "BRANDLOOM_LOG_LEVEL": "LOUD",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 2
    for name in ("BRANDLOOM_LABELER_LISTEN", "BRANDLOOM_LABELER_DECODERS", "BRANDLOOM_LOG_LEVEL"):
        assert name in stderr.decode()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
