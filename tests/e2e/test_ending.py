"""Whatever ends the demo or `make run`, no process of theirs is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.services import SERVICES, free_addresses

ROOT = Path(__file__).parents[2]
# Not BRANDLOOM_...: the demo hands no settings of that name down to its services.
MARK = "TEST_MARK"
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are counted in /proc"),
]


def marked(mark: str) -> list[str]:
    """Command lines of the running processes that inherited the mark."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if line.strip():  # a zombie has none
                    found.append(line)
        except OSError:
            continue  # it has just ended
    return found


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def start(home: Path, module: str, mark: str, *arguments: str) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "BRANDLOOM_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for service, address in free_addresses().items():
        prefix = f"BRANDLOOM_{service.upper()}"
        environment |= {
            f"{prefix}_ADDRESS": address,
            f"{prefix}_LISTEN": address,
            f"{prefix}_METRICS_LISTEN": "",
        }
    environment[MARK] = mark
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def all_started(mark: str) -> bool:
    lines = " ".join(marked(mark))
    return all(f"services.{name}" in lines for name in SERVICES)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_in_the_middle_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    mark = uuid.uuid4().hex
    runner = start(tmp_path / "home", "demo.services", mark)
    try:
        assert wait_for(lambda: all_started(mark), 180), marked(mark)
        assert wait_for(lambda: any("worker" in line or "engine" in line for line in marked(mark)), 90)
        runner.send_signal(number)
        output, _ = runner.communicate(timeout=180)
    finally:
        runner.kill()
    assert runner.returncode == (130 if number is signal.SIGINT else 128 + number)
    assert wait_for(lambda: not marked(mark), 5), marked(mark)
    assert b"Traceback" not in output


def test_ctrl_c_in_the_middle_of_the_demo_leaves_no_process(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    runner = start(tmp_path / "elsewhere", "demo.run", mark, "--home", str(tmp_path / "demo"), "--steps", "5")
    try:
        assert wait_for(lambda: any("captioner_worker" in line for line in marked(mark)), 240), marked(mark)
        runner.send_signal(signal.SIGINT)
        output, _ = runner.communicate(timeout=180)
    finally:
        runner.kill()
    assert runner.returncode == 130
    assert wait_for(lambda: not marked(mark), 30), marked(mark)
    assert b"Traceback" not in output


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_runs_twice_in_a_row(tmp_path: Path) -> None:
    arguments = ("--home", str(tmp_path / "demo"), "--steps", "3", "--generation-steps", "2")
    for _ in range(2):
        mark = uuid.uuid4().hex
        runner = start(tmp_path / "elsewhere", "demo.run", mark, *arguments)
        output, _ = runner.communicate(timeout=800)
        assert runner.returncode == 0, output.decode()
        assert (tmp_path / "demo" / "output" / "contact-sheet.png").stat().st_size > 100_000
        assert wait_for(lambda mark=mark: not marked(mark), 30), marked(mark)  # type: ignore[misc]


def test_not_even_a_killed_runner_leaves_a_process(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    runner = start(tmp_path / "home", "demo.services", mark)
    try:
        assert wait_for(lambda: all_started(mark), 180), marked(mark)
        assert wait_for(lambda: any("worker" in line or "engine" in line for line in marked(mark)), 90)
    finally:
        runner.kill()
        runner.communicate()
    assert wait_for(lambda: not marked(mark), 60), marked(mark)


def test_a_service_that_cannot_start_ends_the_others_and_says_why(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    home = tmp_path / "home"
    home.mkdir()
    (home / "registry.db").mkdir()
    runner = start(home, "demo.services", mark)
    output, _ = runner.communicate(timeout=180)
    assert runner.returncode == 1
    assert b"the registry ended with status" in output
    assert wait_for(lambda: not marked(mark), 5), marked(mark)


def test_services_beside_those_that_run_already_are_refused_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = (
            "import sys; from demo.services import main; "
            f"import os; os.environ['BRANDLOOM_LABELER_ADDRESS'] = '{address}'; sys.exit(main())"
        )
        found = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=ROOT,
            env={**os.environ, "BRANDLOOM_HOME": str(tmp_path / "home")},
        )
    assert found.returncode == 1
    assert f"the labeler cannot listen on {address}" in found.stdout
    assert "is ready" not in found.stdout
    assert not (tmp_path / "home" / "logs").exists()


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    runner = start(tmp_path / "x", "demo.run", "none", "--home", str(tmp_path))
    output, _ = runner.communicate(timeout=180)
    assert runner.returncode == 1
    assert b"holds something else" in output
    assert (tmp_path / "precious.txt").read_text() == "mine"
