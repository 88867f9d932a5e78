"""All four services as processes, with small models, for the whole session."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from brandloom.cli.main import main
from demo.services import Suite, embedded_environment, free_addresses, running
from tests.fixtures.tiny_blip import save_tiny_blip
from tests.fixtures.tiny_sd import save_tiny_pipeline


@dataclass(frozen=True)
class World:
    """The running services and the base model that they use."""

    suite: Suite
    base: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("e2e")
    base = save_tiny_pipeline(root / "models" / "tiny-sd")
    captioner = save_tiny_blip(root / "models" / "tiny-blip")
    home = root / "home"
    addresses = free_addresses()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRANDLOOM_")}
    environment = {
        **inherited,
        **embedded_environment(home, addresses, metrics=False),
        "BRANDLOOM_INFERENCE_BASE_MODEL": str(base),
        "BRANDLOOM_LABELER_CAPTIONER": str(captioner),
        "BRANDLOOM_TRAINER_THREADS": "1",
        "BRANDLOOM_INFERENCE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    with running(home, addresses, environment, lambda name, took: None) as suite:
        yield World(suite, base)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def brandloom_command(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs the command against the services, in this process."""
    monkeypatch.setenv("BRANDLOOM_HOME", str(world.suite.home))
    for service, address in world.suite.addresses.items():
        monkeypatch.setenv(f"BRANDLOOM_{service.upper()}_ADDRESS", address)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["brandloom", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Done(int(stop.value.code or 0), captured.out, captured.err)

    return call
