"""A bound child ends with its parent at any moment, also while it still imports."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from servicekit.bound import bound_command

# A module whose import takes for ever, and which never reads anything; then the same as a parent's child.
SLOW = """
import os, pathlib, time
pathlib.Path(os.environ["MARK"]).write_text(str(os.getpid()))
time.sleep(600)
"""
PARENT = """
import subprocess, sys
from servicekit.bound import bound_command
subprocess.run(bound_command("slow_import", "argument"))
"""


def gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_child_in_the_middle_of_an_import_dies_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(SLOW)
    mark = tmp_path / "pid"
    root = Path(__file__).resolve().parents[3]
    environment = {"PYTHONPATH": f"{tmp_path}:{root}", "MARK": str(mark), "PATH": ""}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment)
    try:
        limit = time.monotonic() + 30
        while not (mark.exists() and mark.read_text()):
            assert time.monotonic() < limit
            time.sleep(0.02)
        child = int(mark.read_text())
        assert not gone(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        while not gone(child):
            assert time.monotonic() < limit, "the child outlives its parent"
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()


def test_the_module_gets_its_arguments_and_its_exit_code_counts(tmp_path: Path) -> None:
    (tmp_path / "tells.py").write_text("import sys\nprint(__name__, sys.argv[1:])\nsys.exit(7)\n")
    done = subprocess.run(
        bound_command("tells", "--one", "two"),
        cwd=tmp_path,
        env=_path(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["__main__", "['--one',", "'two']"]
    assert done.returncode == 7


def test_a_child_whose_parent_is_gone_already_does_nothing(tmp_path: Path) -> None:
    command = bound_command("json.tool", "--help")
    command[command.index("servicekit.bound") + 1] = "1"
    assert subprocess.run(command, env=_path(tmp_path), capture_output=True).returncode == 1


def _path(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{folder}:{Path(__file__).resolve().parents[3]}", "PATH": ""}
