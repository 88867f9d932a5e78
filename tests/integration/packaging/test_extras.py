"""What an installation brings: the SDK and the registry stay light."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "matplotlib", "tensorboard"}
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?")


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """Every distribution that a requirement brings, itself included, read from installed metadata."""
    name = normalised(name)
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return {name}
    found = {name}
    for requirement in requirements:
        text, _, marker = requirement.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra and normalised(extra.group(1)) not in {normalised(e) for e in extras}:
            continue
        match = REQUIREMENT.match(text.strip())
        assert match is not None
        found |= closure(match.group(1), frozenset(filter(None, (match.group(2) or "").split(","))), seen)
    return found


def test_the_sdk_needs_light_packages_only() -> None:
    found = closure("brandloom", frozenset(), set())
    assert "grpcio" in found
    assert found & (HEAVY | {"numpy", "pillow", "sqlalchemy"}) == set()


def test_the_registry_extra_brings_no_torch() -> None:
    assert closure("brandloom", frozenset({"registry"}), set()) & HEAVY == set()


def test_the_walk_finds_torch_where_it_is() -> None:
    assert "torch" in closure("brandloom", frozenset({"trainer"}), set())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fresh_environment_serves_the_registry_without_torch(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    constraints = ROOT / "constraints.txt"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{ROOT}[registry]"]
    subprocess.run(install, check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True)
    installed = {normalised(line.split("==")[0]) for line in listed.stdout.decode().splitlines()}
    assert "brandloom" in installed
    assert installed & HEAVY == set()
    environment = {
        "PATH": os.environ["PATH"],
        "BRANDLOOM_HOME": str(tmp_path / "home"),
        "BRANDLOOM_REGISTRY_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_REGISTRY_METRICS_LISTEN": "",
    }
    service = subprocess.Popen(
        [python, "-m", "services.registry"], env=environment, stderr=subprocess.PIPE, cwd=tmp_path, text=True
    )
    assert service.stderr is not None
    try:
        lines = []
        for line in service.stderr:
            lines.append(line)
            if " serving " in line:
                break
        else:
            pytest.fail("the registry ended before it served:\n" + "".join(lines))
    finally:
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=60)
    assert service.returncode == 0, sys.stderr.write("".join(lines))
