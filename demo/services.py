"""The four services as four processes with the embedded defaults: `python -m demo.services` (`make run`).

They stop together: on Ctrl-C, on SIGTERM, when one of them ends, and when this process dies in whatever way.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console

import brandloom
from brandloom import HealthStatus
from demo.base_models import MODELS, register_base_model
from servicekit.bound import bound_command
from servicekit.identity import ensure_local_token

ROOT: Final = Path(__file__).resolve().parents[1]
SERVICES: Final = ("registry", "labeler", "trainer", "inference")
_FIRST_PORT: Final = 50051
_FIRST_METRICS_PORT: Final = 9101
_START_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.25
_LOG_TAIL_LINES: Final = 15
_HELP: Final = (
    "Start the four services with the embedded defaults and keep them until Ctrl-C. The home folder is "
    "$BRANDLOOM_HOME, else ~/.brandloom; other settings in the environment win over the defaults."
)


class ServiceError(Exception):
    """A service did not start, or ended by itself; the message holds the end of its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceProcess:
    """One running service."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """ServiceError when it has ended."""
        status = self.process.poll()
        if status is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
            raise ServiceError(f"the {self.name} ended with status {status}; the end of {self.log}:\n{tail}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """The four services, how to reach them, and where they keep everything."""

    home: Path
    addresses: Mapping[str, str]
    processes: tuple[ServiceProcess, ...]

    def connect(self) -> brandloom.Client:
        """A client of these services."""
        return brandloom.connect(**self.connection())

    def connection(self) -> dict[str, Any]:
        """Arguments for `brandloom.connect` and `connect_async`."""
        return {**self.addresses, "token": ensure_local_token(self.home)}

    def check(self) -> None:
        """ServiceError when one of them has ended."""
        for process in self.processes:
            process.check()


def default_addresses() -> dict[str, str]:
    """Where clients look for the services unless told otherwise."""
    return {name: f"127.0.0.1:{_FIRST_PORT + index}" for index, name in enumerate(SERVICES)}


def free_addresses() -> dict[str, str]:
    """Four loopback addresses that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in SERVICES]
    try:
        ports = [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
    return {name: f"127.0.0.1:{port}" for name, port in zip(SERVICES, ports, strict=True)}


def embedded_environment(home: Path, addresses: Mapping[str, str], *, metrics: bool) -> dict[str, str]:
    """Settings that make the services use local files, the demo's models and the given addresses."""
    settings = {
        "BRANDLOOM_HOME": str(home),
        "BRANDLOOM_LABELER_CAPTIONER": str(MODELS / "blip-tiny"),
        "BRANDLOOM_INFERENCE_BASE_MODEL": str(MODELS / "sd-tiny"),
        "BRANDLOOM_INFERENCE_TEXT_BASE_MODEL": str(MODELS / "llama-tiny"),
        "HF_HUB_OFFLINE": "1",
    }
    for index, name in enumerate(SERVICES):
        prefix = f"BRANDLOOM_{name.upper()}"
        settings[f"{prefix}_LISTEN"] = settings[f"{prefix}_ADDRESS"] = addresses[name]
        metrics_port = _FIRST_METRICS_PORT + index
        settings[f"{prefix}_METRICS_LISTEN"] = f"127.0.0.1:{metrics_port}" if metrics else ""
        settings[f"{prefix}_DRAIN_SECONDS"] = "3"
    return settings


@contextmanager
def running(
    home: Path,
    addresses: Mapping[str, str],
    environment: Mapping[str, str],
    on_ready: Callable[[str, float], None],
) -> Iterator[Suite]:
    """The services from the moment when all serve until the block is left; logs go to `home/logs`.

    `environment` is all that they inherit. `on_ready` is told each service and the seconds that it took. Must
    be entered in the main thread, whose end the services' own ends are bound to.
    """
    _check_free(addresses)
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ensure_local_token(home)
    processes: list[ServiceProcess] = []
    try:
        for name in SERVICES:
            processes.append(_start(name, logs / f"{name}.log", environment))
        suite = Suite(home=home, addresses=addresses, processes=tuple(processes))
        _wait_until_serving(suite, on_ready)
        yield suite
    finally:
        _stop(processes)


def _check_free(addresses: Mapping[str, str]) -> None:
    """ServiceError naming what is taken: else clients would find the services that run there already."""
    for name, address in addresses.items():
        host, _, port = address.rpartition(":")
        try:
            socket.create_server((host, int(port))).close()
        except OSError as fault:
            variable = f"BRANDLOOM_{name.upper()}"
            raise ServiceError(
                f"the {name} cannot listen on {address}: {fault.strerror or fault}. If the services run "
                "there already, stop them first; else give it another address with "
                f"{variable}_LISTEN and {variable}_ADDRESS"
            ) from fault


def _start(name: str, log: Path, environment: Mapping[str, str]) -> ServiceProcess:
    command = bound_command(f"services.{name}", end=signal.SIGTERM)
    with log.open("wb") as output:
        # In a session of its own, so that Ctrl-C reaches this process first and everything that a service has
        # started can be ended with it.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return ServiceProcess(name=name, process=process, log=log)


def _wait_until_serving(suite: Suite, on_ready: Callable[[str, float], None]) -> None:
    began = time.monotonic()
    waiting = set(SERVICES)
    with suite.connect() as client:
        while waiting:
            suite.check()
            serving = {health.service for health in client.health() if health.status is HealthStatus.SERVING}
            for name in sorted(waiting & serving, key=SERVICES.index):
                on_ready(name, time.monotonic() - began)
            waiting -= serving
            if time.monotonic() - began > _START_SECONDS:
                logs = ", ".join(str(process.log) for process in suite.processes if process.name in waiting)
                raise ServiceError(
                    f"not ready after {_START_SECONDS:.0f} s: {', '.join(waiting)}; see {logs}"
                )
            time.sleep(_POLL_SECONDS)


def _stop(processes: list[ServiceProcess]) -> None:
    for service in processes:
        if service.process.poll() is None:
            service.process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    try:
        for service in processes:
            service.process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass  # too slow, or asked a second time: what is left is killed below
    finally:
        for service in processes:
            _kill_group(service.process.pid)
            service.process.wait()


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):  # nothing of it is left
        os.killpg(leader, signal.SIGKILL)


def exit_on_signals() -> None:
    """SIGTERM and SIGHUP end the program as Ctrl-C does: through its `finally` blocks."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def main() -> int:
    """Starts the services and keeps them until Ctrl-C; settings in the environment win over the defaults."""
    argparse.ArgumentParser(prog="python -m demo.services", description=_HELP).parse_args()
    exit_on_signals()
    console = Console(highlight=False)
    home = Path(os.environ.get("BRANDLOOM_HOME") or "~/.brandloom").expanduser().resolve()
    addresses = default_addresses()
    for name in SERVICES:
        addresses[name] = os.environ.get(f"BRANDLOOM_{name.upper()}_ADDRESS", addresses[name])
    environment = {**embedded_environment(home, addresses, metrics=True), **os.environ}
    environment["BRANDLOOM_HOME"] = str(home)
    console.print(f"starting four services with their home in {home}")
    try:
        with ExitStack() as cleanup:
            services = running(home, addresses, environment, lambda name, took: _say(console, name, took))
            with console.status("waiting for the services"):
                suite = cleanup.enter_context(services)
            cleanup.callback(console.print, "\nstopping the services")
            with suite.connect() as client:
                console.print(f"  base model {register_base_model(client).name}")
            _explain(console, suite)
            while True:
                suite.check()
                time.sleep(1.0)
    except ServiceError as fault:
        console.print(
            f"[red]{fault}[/red]" if console.is_terminal else str(fault), markup=console.is_terminal
        )
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130


def _say(console: Console, name: str, took: float) -> None:
    console.print(f"  {name} is ready ({took:.1f} s)")


def _explain(console: Console, suite: Suite) -> None:
    console.print("\nall serve; Ctrl-C stops them. In another terminal:\n")
    if suite.home != Path("~/.brandloom").expanduser():
        console.print(f"  export BRANDLOOM_HOME={suite.home}")
    for name, address in suite.addresses.items():
        if address != default_addresses()[name]:
            console.print(f"  export BRANDLOOM_{name.upper()}_ADDRESS={address}")
    console.print("  .venv/bin/brandloom services status\n")


if __name__ == "__main__":
    sys.exit(main())
