"""What is configured to guard pictures is never left out: without it nothing is served."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from services.inference.config import read_config
from tests.fixtures.signing_certificates import write_signing_files
from tests.fixtures.tiny_safety import NEVER, save_tiny_checker

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 150.0


def test_an_engine_whose_safety_checker_is_broken_never_gets_ready(tmp_path: Path) -> None:
    checker = save_tiny_checker(tmp_path / "checker", threshold=NEVER)
    file = checker / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    config = read_config(
        {"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_INFERENCE_SAFETY_CHECKER": str(checker)}
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "services.inference.engine",
                str(theirs.fileno()),
                json.dumps(asdict(config.engine)),
            ],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        theirs.close()
        assert ended.returncode == 1
        assert "the safety checker cannot be loaded" in ended.stderr
        assert str(checker) in ended.stderr
        # It has not said that it is ready, nor anything else.
        assert ours.recv(1) == b""


def test_a_service_that_cannot_sign_does_not_start(tmp_path: Path) -> None:
    files, others = write_signing_files(tmp_path / "a"), write_signing_files(tmp_path / "b")
    environment = {
        **os.environ,
        **files.environment,
        "BRANDLOOM_HOME": str(tmp_path),
        "BRANDLOOM_INFERENCE_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_INFERENCE_METRICS_LISTEN": "",
        "BRANDLOOM_INFERENCE_SIGNING_KEY": str(others.key),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "services.inference"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 2
    assert "BRANDLOOM_INFERENCE_SIGNING_CERT and _KEY cannot sign pictures" in ended.stderr
