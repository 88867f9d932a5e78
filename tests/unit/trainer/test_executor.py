"""The local executor with real, small processes."""

# ruff: noqa: ASYNC110 - other processes ring no bell

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from services.trainer.executor import ExecutorSettings, LocalExecutor
from services.trainer.worker_names import is_gone, worker_name, worker_prefix

SLEEPER = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)",
)


class Ledger:
    """Remembers which workers were released."""

    def __init__(self) -> None:
        self.released: list[tuple[str, str, bool]] = []
        self.holders: set[str] = set()

    async def release(self, worker: str, why: str, *, blameless: bool = False) -> int:
        self.released.append((worker, why, blameless))
        self.holders.discard(worker)
        return 1

    async def lease_holders(self, prefix: str) -> set[str]:
        return {worker for worker in self.holders if worker.startswith(prefix)}


class Restarts:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def settings(
    command: tuple[str, ...] = SLEEPER, workers: int = 1, stop_seconds: float = 5.0
) -> ExecutorSettings:
    return ExecutorSettings(
        workers=workers,
        environment=dict(os.environ),
        command=command,
        stop_seconds=stop_seconds,
        first_wait_seconds=0.01,
    )


async def until_running(executor: LocalExecutor, workers: int, besides: tuple[int, ...] = ()) -> list[int]:
    async with asyncio.timeout(30):
        while True:
            pids = [pid for pid in executor.worker_pids if pid not in besides]
            if len(pids) == workers:
                return pids
            await asyncio.sleep(0.01)


async def test_a_killed_worker_is_replaced_and_its_jobs_are_freed() -> None:
    ledger, restarts = Ledger(), Restarts()
    executor = LocalExecutor(settings(workers=2), ledger, restarts)
    await executor.start()
    first, second = await until_running(executor, 2)
    os.kill(first, signal.SIGKILL)
    (third,) = await until_running(executor, 1, besides=(first, second))
    assert ledger.released == [(worker_name(first), "the worker was killed by signal 9", False)]
    assert restarts.count == 1
    await executor.stop()
    assert {worker for worker, _, blameless in ledger.released[1:] if blameless} == {
        worker_name(second),
        worker_name(third),
    }
    assert executor.worker_pids == []


async def test_a_worker_that_ends_by_itself_tells_its_code() -> None:
    ledger = Ledger()
    executor = LocalExecutor(
        settings((sys.executable, "-S", "-c", "raise SystemExit(3)")), ledger, Restarts()
    )
    await executor.start()
    async with asyncio.timeout(30):
        while len(ledger.released) < 2:
            await asyncio.sleep(0.01)
    await executor.stop()
    assert ledger.released[0][1] == "the worker ended with code 3"


async def test_a_worker_that_does_not_stop_is_killed() -> None:
    executor = LocalExecutor(settings(STUBBORN, stop_seconds=0.2), Ledger(), Restarts())
    await executor.start()
    (pid,) = await until_running(executor, 1)
    await asyncio.sleep(0.5)
    await asyncio.wait_for(executor.stop(), 20)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_leases_of_workers_that_are_gone_are_freed_at_the_start() -> None:
    process = await asyncio.create_subprocess_exec(*SLEEPER[:2], "-c", "")
    await process.wait()
    ledger = Ledger()
    ledger.holders = {worker_name(process.pid), worker_name(os.getpid()), "another-host.1.pid-1"}
    executor = LocalExecutor(settings(workers=0), ledger, Restarts())
    await executor.start()
    await executor.stop()
    assert [worker for worker, _, _ in ledger.released] == [worker_name(process.pid)]


def test_names_of_workers_are_good_names() -> None:
    assert worker_name(7).startswith(worker_prefix())
    assert len(worker_name(4194304)) <= 63
    assert not is_gone(worker_name(os.getpid()))
    assert not is_gone("somebody")


async def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "from services.trainer.worker.parent import exit_with_parent; import time; exit_with_parent();"
        f"open({str(tmp_path / 'up')!r}, 'w').close(); time.sleep(60)"
    )
    parent_code = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {code!r}], stdin=subprocess.PIPE);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent_code, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    async with asyncio.timeout(30):
        while not (tmp_path / "up").exists():
            await asyncio.sleep(0.02)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(10):
        while _runs(child):
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
