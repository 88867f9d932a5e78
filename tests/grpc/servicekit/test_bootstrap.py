from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from servicekit.channels import open_channel
from servicekit.common_config import CommonConfig, read_common_config
from servicekit.identity import ensure_local_token
from servicekit.probe import main, probe
from servicekit.settings import ConfigError, Settings
from tests.fakes.servicekit_echo import EchoStub
from tests.fakes.servicekit_messages import Order

ROOT = Path(__file__).parents[3]
PROGRAM = """
import os, sys
from servicekit.bootstrap import build_server, run_main, serve_until_stopped
from servicekit.common_config import read_common_config
from servicekit.drain import Drain
from servicekit.metrics import ServiceMetrics
from servicekit.settings import Settings
from tests.fakes.servicekit_echo import EchoServicer

def read():
    reader = Settings(os.environ)
    common = read_common_config(reader, "echo", listen="127.0.0.1:1", metrics_listen="")
    reader.check()
    return common

async def serve(common):
    metrics = ServiceMetrics("echo")
    servicer = EchoServicer()
    server = build_server(common, metrics, [servicer.registration()], readiness={}, drain=Drain())
    await serve_until_stopped(server, common, metrics)

sys.exit(run_main(read, serve, common=lambda common: common))
"""


def read(environment: dict[str, str]) -> CommonConfig:
    reader = Settings(environment)
    config = read_common_config(reader, "registry", listen="127.0.0.1:50051", metrics_listen="127.0.0.1:9101")
    reader.check()
    return config


async def launch(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_defaults(tmp_path: Path) -> None:
    config = read({"BRANDLOOM_HOME": str(tmp_path)})
    assert (config.listen, config.metrics_listen) == ("127.0.0.1:50051", "127.0.0.1:9101")
    assert config.local_token() == ensure_local_token(tmp_path)


def test_what_is_set_counts(tmp_path: Path) -> None:
    environment = {
        "BRANDLOOM_HOME": str(tmp_path),
        "BRANDLOOM_REGISTRY_LISTEN": "0.0.0.0:7",
        "BRANDLOOM_REGISTRY_METRICS_LISTEN": "",
        "BRANDLOOM_REGISTRY_DRAIN_SECONDS": "3",
        "BRANDLOOM_TOKEN": "hush",
    }
    config = read(environment)
    assert (config.listen, config.metrics_listen, config.drain_seconds) == ("0.0.0.0:7", "", 3.0)
    assert config.local_token() == "hush"
    assert "hush" not in repr(config)
    assert not (tmp_path / "token").exists()


def test_faults_come_together() -> None:
    with pytest.raises(ConfigError) as caught:
        read({"BRANDLOOM_REGISTRY_LISTEN": "x", "BRANDLOOM_LOG_LEVEL": "LOUD"})
    assert len(caught.value.faults) == 2


async def test_a_service_lives_and_ends(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/socket"
    process = await launch({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_ECHO_LISTEN": listen})
    assert process.stderr is not None
    while b"serving" not in await asyncio.wait_for(process.stderr.readline(), 20):
        assert not process.stderr.at_eof()
    assert await asyncio.to_thread(probe, listen) == "SERVING"
    assert await asyncio.to_thread(probe, listen, "unknown") == "NOT_FOUND"
    assert await asyncio.to_thread(main, [listen]) == 0
    async with open_channel(listen, token=ensure_local_token(tmp_path)) as channel:
        assert (await EchoStub(channel).unary(Order(name="a"))).name == "a"
    process.send_signal(signal.SIGTERM)
    await process.stderr.read()
    assert await process.wait() == 0
    assert await asyncio.to_thread(main, [listen]) == 1


async def test_a_bad_configuration_and_a_taken_port_end_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        busy, bad = await asyncio.gather(
            launch({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_ECHO_LISTEN": listen}),
            launch({"BRANDLOOM_ECHO_LISTEN": "nowhere"}),
        )
        said = [(await process.communicate())[1].decode() for process in (busy, bad)]
    assert (busy.returncode, bad.returncode) == (1, 2)
    assert f"echo cannot listen on {listen}" in said[0]
    assert "BRANDLOOM_ECHO_LISTEN must be host:port" in said[1]


def test_the_probe_explains_itself() -> None:
    assert main([]) == 2
