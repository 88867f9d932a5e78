"""The service as a process: it starts by `python -m`, and leaves no engine behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from servicekit.channels import open_channel
from tests.fixtures.tiny_sd import save_tiny_pipeline

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 150.0


def children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task")
    return {int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()}


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(holds: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A service with a local base model and without a registry; and its log."""
    log = tmp_path / "log"
    environment = {
        **os.environ,
        "BRANDLOOM_HOME": str(tmp_path / "home"),
        "BRANDLOOM_TOKEN": "a-token",
        "BRANDLOOM_REGISTRY_ADDRESS": "127.0.0.1:1",  # nobody listens there
        "BRANDLOOM_INFERENCE_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_INFERENCE_METRICS_LISTEN": "",
        "BRANDLOOM_INFERENCE_BASE_MODEL": str(save_tiny_pipeline(tmp_path / "tiny")),
        "BRANDLOOM_INFERENCE_DEVICE": "cpu",
        "BRANDLOOM_LOG_FORMAT": "json",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.inference"], cwd=ROOT, env=environment, stderr=output
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("end", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
async def test_a_local_base_is_served_and_no_engine_is_left(
    service: tuple[subprocess.Popen[bytes], Path], end: signal.Signals
) -> None:
    process, log = service
    wait_for(lambda: "engine ready" in log.read_text(), "the engine is not ready")
    (engine,) = children(process.pid)
    port = re.search(r'"port": (\d+)', log.read_text())
    assert port is not None
    async with open_channel(f"127.0.0.1:{port[1]}", token="a-token") as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        request = inference_pb2.GenerateImagesRequest(parent="brands/acme", prompt="a fox", steps=2)
        messages = [message async for message in stub.GenerateImages(request)]
    assert messages[-1].image.width == 16
    process.send_signal(end)
    assert process.wait(SECONDS) == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    wait_for(lambda: not alive(engine), "the engine outlives its service")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_an_engine_that_still_imports_ends_with_its_service(
    service: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, log = service
    wait_for(lambda: children(process.pid), "no engine is started")
    (engine,) = children(process.pid)
    assert "engine ready" not in log.read_text()
    process.kill()
    process.wait()
    time.sleep(1.0)  # the imports take longer
    assert not alive(engine)


def test_a_bad_configuration_is_told_whole() -> None:
    environment = {**os.environ, "BRANDLOOM_INFERENCE_DTYPE": "int4", "BRANDLOOM_INFERENCE_MAX_ROWS": "x"}
    answer = subprocess.run(
        [sys.executable, "-m", "services.inference"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert "BRANDLOOM_INFERENCE_DTYPE" in answer.stderr
    assert "BRANDLOOM_INFERENCE_MAX_ROWS" in answer.stderr
