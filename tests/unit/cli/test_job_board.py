"""`brandloom jobs watch` over a trainer that is a few jobs in memory: in a terminal, in a pipe, as JSON."""

# ruff: noqa: N802 - methods are named as their RPCs
from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from rich.console import Console

from brandloom import JobState, ProgressEvent, StateEvent, TrainingJob, TrainingProgress
from brandloom._blocking import LoopThread
from brandloom._convert.fields import from_proto
from brandloom.api.common.v1 import job_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2, trainer_pb2_grpc
from brandloom.cli.job_board import JobBoard

NOW = datetime(2026, 11, 3, tzinfo=UTC)
EVERYTHING = (
    *("hero", "acme", "running", "40/100", "0.5000", "0.2500", "1.00e-04", "8.0", "3", "24.0"),
    *("1.5 GB", "1:15", "host.pid-7"),
)
PROGRESS = {
    "step": 40,
    "total_steps": 100,
    "loss": 0.5,
    "smoothed_loss": 0.25,
    "learning_rate": 1e-4,
    "images_per_second": 8.0,
    "pack_size": 3,
    "pack_images_per_second": 24.0,
    "device_memory_bytes": 1_500_000_000,
}


def a_job(state: int, lora: str = "hero", **fields: Any) -> resources_pb2.TrainingJob:
    name = f"brands/acme/trainingJobs/{lora}"
    return resources_pb2.TrainingJob(
        name=name, spec={"lora": f"brands/acme/loras/{lora}"}, state=state, **fields
    )


class Trainer(trainer_pb2_grpc.TrainerServiceServicer):
    """`hero` runs and goes on for as long as `endless`, `city` waits behind another job."""

    def __init__(self, *, endless: bool) -> None:
        self.endless = endless
        self.state = job_pb2.JOB_STATE_RUNNING
        self.watched: list[str] = []

    def _job(self, name: str) -> resources_pb2.TrainingJob:
        if name.endswith("hero"):
            return a_job(self.state, worker="host.pid-7")
        waits = job_pb2.JOB_STATE_QUEUED if self.endless else job_pb2.JOB_STATE_SUCCEEDED
        return a_job(waits, "city", queue_position=1)

    async def ListTrainingJobs(self, request: Any, context: Any) -> trainer_pb2.ListTrainingJobsResponse:
        assert request.parent == "brands/-"
        jobs = [self._job("hero"), self._job("city")]
        return trainer_pb2.ListTrainingJobsResponse(training_jobs=jobs if self.endless else jobs[:1])

    async def GetTrainingJob(self, request: Any, context: Any) -> resources_pb2.TrainingJob:
        return self._job(request.name)

    async def WatchTrainingJob(
        self, request: Any, context: Any
    ) -> AsyncIterator[resources_pb2.TrainingEvent]:
        self.watched.append(request.name)
        if request.name.endswith("hero"):
            for number, state in enumerate(
                (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_PREPARING, job_pb2.JOB_STATE_RUNNING), start=1
            ):
                yield resources_pb2.TrainingEvent(sequence=number, state=state)
            yield resources_pb2.TrainingEvent(sequence=4, progress=PROGRESS)
        if self.endless:
            await asyncio.Event().wait()
        self.state = job_pb2.JOB_STATE_SUCCEEDED
        yield resources_pb2.TrainingEvent(sequence=5, state=self.state)


@pytest.fixture
def serve() -> Iterator[Any]:
    """Starts a trainer and gives its address."""
    loop = LoopThread()
    servers: list[grpc.aio.Server] = []

    async def start(servicer: Trainer) -> str:
        server = grpc.aio.server()
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    async def stop() -> None:
        for server in servers:
            await server.stop(None)

    yield lambda servicer: loop.run(start(servicer))
    loop.run(stop())
    loop.close()


def command(address: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "brandloom", "--trainer", address, "jobs", "watch", *arguments]


def environment(home: Path, **changes: str) -> dict[str, str]:
    return {**os.environ, "BRANDLOOM_TOKEN": "t", "BRANDLOOM_HOME": str(home), **changes}


def board_of(count: int) -> JobBoard:
    board = JobBoard()
    for number in range(count):
        job = from_proto(TrainingJob, a_job(job_pb2.JOB_STATE_QUEUED, f"hero{number or ''}"))
        board.add(job)
        board.apply(job.name, StateEvent(sequence=1, time=NOW, state=JobState.RUNNING))
        progress = from_proto(TrainingProgress, resources_pb2.TrainingProgress(**PROGRESS))
        progress = replace(progress, time_left=timedelta(seconds=75))
        board.apply(job.name, ProgressEvent(sequence=2, time=NOW, progress=progress))
        board.refresh(replace(job, worker="host.pid-7"))
    return board


def printed(board: JobBoard, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(board)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_a_wide_terminal_shows_everything() -> None:
    lines = printed(board_of(3), 200)
    for part in EVERYTHING:
        assert part in lines[2]
    assert len(lines) == 5


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_a_narrow_terminal_shows_what_matters_most_on_one_line_each(width: int) -> None:
    lines = printed(board_of(3), width)
    assert len(lines) == 5
    assert all(len(line) <= width for line in lines)
    for part in ("hero", "acme", "running", "40/100"):
        assert part in lines[2]
    assert ("1:15" in lines[2]) == (width >= 80)
    assert "host.pid-7" not in lines[2]


def test_what_runs_is_above_what_waits_and_what_has_ended() -> None:
    board = JobBoard()
    states = {
        "done": job_pb2.JOB_STATE_FAILED,
        "next": job_pb2.JOB_STATE_QUEUED,
        "now": job_pb2.JOB_STATE_RUNNING,
    }
    for lora, state in states.items():
        board.add(from_proto(TrainingJob, a_job(state, lora)))
    assert [line.split()[0] for line in printed(board, 120)[2:]] == ["now", "next", "done"]


def test_a_job_that_waits_tells_how_many_are_before_it() -> None:
    board = JobBoard()
    board.add(from_proto(TrainingJob, a_job(job_pb2.JOB_STATE_QUEUED, queue_position=2)))
    assert "2 before it" in printed(board, 120)[2]


def test_ctrl_c_ends_the_table_and_leaves_the_terminal_as_it_was(serve: Any, tmp_path: Path) -> None:
    address = serve(Trainer(endless=True))
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        command(address),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(tmp_path, COLUMNS="200", LINES="40", TERM="xterm"),
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 30
    try:
        while not (b"40/100" in seen and b"1 before it" in seen and b"host.pid-7" in seen):
            assert time.monotonic() < deadline, seen.decode()
            seen += os.read(ours, 65536)
        watching.send_signal(signal.SIGINT)
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            seen += more
        assert watching.wait(timeout=20) == 130
    finally:
        watching.kill()
        os.close(ours)
    text = seen.decode()
    assert "Traceback" not in text
    assert "jobs go on" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor stays hidden"


@pytest.mark.parametrize("arguments", [(), ("--all-brands",), ("acme/hero",)])
def test_a_pipe_gets_a_line_for_each_event(serve: Any, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    trainer = Trainer(endless=False)
    done = subprocess.run(
        command(serve(trainer), *arguments),
        capture_output=True, text=True, timeout=60, env=environment(tmp_path), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "acme/hero: queued",
        "acme/hero: preparing",
        "acme/hero: running",
        "acme/hero: step 40 of 100, loss 0.2500, 8.0 images/s, 24.0 in the pack of 3, 1.5 GB of memory",
        "acme/hero: succeeded",
    ]
    assert trainer.watched == ["brands/acme/trainingJobs/hero"]


def test_json_lines(serve: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        command(serve(Trainer(endless=False)), "--json"),
        capture_output=True, text=True, timeout=60, env=environment(tmp_path), check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["state", "state", "state", "progress", "state"]
    assert lines[3]["progress"]["pack_images_per_second"] == 24.0
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_is_no_fault(serve: Any, tmp_path: Path) -> None:
    """As with `head`."""
    with subprocess.Popen(
        command(serve(Trainer(endless=False)), "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    ) as watching:
        assert watching.stdout is not None and watching.stderr is not None
        watching.stdout.close()
        told = watching.stderr.read()
        assert told == b""
        watching.wait(timeout=30)


def test_names_and_all_brands_exclude_each_other(tmp_path: Path) -> None:
    done = subprocess.run(
        command("127.0.0.1:1", "acme/hero", "--all-brands"),
        capture_output=True, text=True, timeout=60, env=environment(tmp_path), check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--all-brands" in done.stderr
