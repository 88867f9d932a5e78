# ruff: noqa: ASYNC110 -- what is waited for happens in another process.
"""The registry as a process: it starts light, stops cleanly, and a kill -9 leaves nothing half done."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import registry_pb2_grpc, resources_pb2
from servicekit.artifacts.local import LocalStore
from servicekit.channels import open_channel
from tests.grpc.registry.harness import new_request_id
from tests.grpc.registry.lora_files import kohya_file

ROOT = Path(__file__).parents[3]
HERO = "brands/acme/loras/hero"
REGISTRATIONS = 40


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(home: Path, port: int, **more: str) -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR") if name in os.environ
    }
    return {
        **kept,
        "BRANDLOOM_HOME": str(home),
        "BRANDLOOM_REGISTRY_LISTEN": f"127.0.0.1:{port}",
        "BRANDLOOM_REGISTRY_METRICS_LISTEN": "",
        "BRANDLOOM_LOG_LEVEL": "WARNING",
        **more,
    }


def start(settings: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "services.registry"], cwd=ROOT, env=settings)


@asynccontextmanager
async def connected(home: Path, port: int) -> AsyncIterator[Any]:
    """A stub, once the service says that it serves."""
    async with asyncio.timeout(50):
        while not (home / "token").exists():
            await asyncio.sleep(0.05)
    channel = open_channel(f"127.0.0.1:{port}", token=(home / "token").read_text().strip())
    try:
        health = health_pb2_grpc.HealthStub(channel)
        async with asyncio.timeout(50):
            while not await _serves(health):
                await asyncio.sleep(0.05)
        yield channel
    finally:
        await channel.close()


async def _serves(health: Any) -> bool:
    try:
        answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=5)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_a_fresh_process_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, services.registry.__main__\n"
        "found = {'torch', 'numpy', 'PIL', 'diffusers', 'transformers'} & set(sys.modules)\n"
        "sys.exit(repr(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_faults_of_the_configuration_are_told_together(tmp_path: Path) -> None:
    settings = environment(
        tmp_path, 0, BRANDLOOM_REGISTRY_MAX_UPLOAD_BYTES="many", BRANDLOOM_STORE_URL="ftp://nowhere"
    )
    done = subprocess.run(
        [sys.executable, "-m", "services.registry"],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 2
    assert "BRANDLOOM_REGISTRY_MAX_UPLOAD_BYTES" in done.stderr
    assert "BRANDLOOM_STORE_URL" in done.stderr


async def test_it_makes_what_it_needs_serves_and_stops(tmp_path: Path) -> None:
    home, port, metrics_port = tmp_path / "home", free_port(), free_port()
    process = start(environment(home, port, BRANDLOOM_REGISTRY_METRICS_LISTEN=f"127.0.0.1:{metrics_port}"))
    try:
        async with connected(home, port) as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            await stub.CreateBrand(pb.CreateBrandRequest(brand_id="acme"))
            await stub.UploadVersion(_upload(kohya_file()))
            answer = await asyncio.to_thread(
                urllib.request.urlopen, f"http://127.0.0.1:{metrics_port}/metrics", timeout=10
            )
            figures = answer.read().decode()
        assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600
        assert 'brandloom_registry_versions_registered_total{family="sd15",format="kohya"} 1.0' in figures
        assert "brandloom_registry_bytes_total" in figures
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
    finally:
        process.kill()
        process.wait()


async def _upload(data: bytes) -> AsyncIterator[pb.UploadVersionRequest]:
    yield pb.UploadVersionRequest(header=pb.UploadVersionHeader(parent=HERO))
    yield pb.UploadVersionRequest(chunk=data)


@pytest.mark.timeout(150)
async def test_kill_9_registers_nothing_twice_and_nothing_half(tmp_path: Path, database_url: str) -> None:
    home, port = tmp_path / "home", free_port()
    settings = environment(home, port, BRANDLOOM_REGISTRY_DATABASE_URL=database_url)
    store = LocalStore(home / "store")
    requests = []
    for seed in range(1, REGISTRATIONS + 1):
        artifact = await store.put_bytes(kohya_file(seed=seed))
        version = resources_pb2.LoraVersion(tags=[f"seed{seed}"])
        version.artifact.sha256 = artifact.sha256
        requests.append(pb.RegisterVersionRequest(parent=HERO, version=version, request_id=new_request_id()))

    answered: dict[str, str] = {}
    for last in (False, True):
        process = start(settings)
        try:
            async with connected(home, port) as channel:
                stub = registry_pb2_grpc.RegistryServiceStub(channel)
                if not last:
                    await stub.CreateBrand(pb.CreateBrandRequest(brand_id="acme"))
                calls = [asyncio.create_task(_register(stub, request, answered)) for request in requests]
                if not last:
                    while len(answered) < REGISTRATIONS // 4:
                        await asyncio.sleep(0.005)
                    process.kill()
                await asyncio.gather(*calls)
                if last:
                    await _check_all(stub, requests, answered)
        finally:
            process.kill()
            process.wait()
        if not last:
            assert len(answered) < REGISTRATIONS  # the kill came while there was work to do


async def _register(stub: Any, request: pb.RegisterVersionRequest, answered: dict[str, str]) -> None:
    try:
        version = await stub.RegisterVersion(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error.details()
        return
    assert answered.setdefault(request.request_id, version.name) == version.name


async def _check_all(stub: Any, requests: list[pb.RegisterVersionRequest], answered: dict[str, str]) -> None:
    """Every request has one version of its own, numbers have no gaps, and the log tells the same."""
    assert set(answered) == {request.request_id for request in requests}
    listed = (await stub.ListLoraVersions(pb.ListLoraVersionsRequest(parent=HERO, page_size=1000))).versions
    assert sorted(version.version for version in listed) == list(range(1, REGISTRATIONS + 1))
    digests = {version.name: version.artifact.sha256 for version in listed}
    for request in requests:
        assert digests[answered[request.request_id]] == request.version.artifact.sha256
    for version in listed:
        assert (await stub.GetLoraVersion(pb.GetLoraVersionRequest(name=version.name))).modules
    watch = stub.WatchChanges(pb.WatchChangesRequest(parent="brands/acme"))
    changes = [await asyncio.wait_for(watch.read(), 10) for _ in range(REGISTRATIONS + 1)]
    watch.cancel()
    assert [change.sequence for change in changes] == list(range(1, REGISTRATIONS + 2))
    assert [change.version for change in changes] == list(range(REGISTRATIONS + 1))
