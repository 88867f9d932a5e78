"""What is written down of how a job was trained."""

from __future__ import annotations

import platform

import pytest
import torch

from services.trainer.engine import StepReport
from services.trainer.engine.progress import PackReport
from services.trainer.worker.environment import Tally, environment


def report(step: int) -> StepReport:
    return StepReport(
        job_id="a", step=step, total_steps=9, epoch=1, loss=1.0, learning_rate=1e-4, rows=4,
        finished=False, fault=None,
    )  # fmt: skip


def pack(*job_ids: str) -> PackReport:
    return PackReport(
        job_ids=frozenset(job_ids), images_per_second=8.0, step_seconds=2.0, device_memory_bytes=1
    )


def test_companions_are_counted_and_not_named() -> None:
    tally = Tally()
    for step, members in enumerate([("a",), ("a", "b", "c"), ("a", "c")], start=1):
        tally.add(report(step), pack(*members))
    assert (tally.seconds, tally.images_per_second) == (6.0, 2.0)
    found = environment(tally, device=torch.device("cpu"), precision="float32", worker="w1", attempt=2)
    assert (found["pack_size_least"], found["pack_size_most"], found["companions"]) == ("1", "3", "2")
    assert (found["python"], found["precision"]) == (platform.python_version(), "float32")
    assert (found["worker"], found["attempt"], found["device"]) == ("w1", "2", "cpu")
    assert found["threads"] == str(torch.get_num_threads())
    assert {"brandloom", "torch", "diffusers", "transformers", "device_name", "platform"} <= found.keys()
    assert all(found.values())


def test_nothing_done_is_no_speed() -> None:
    assert Tally().images_per_second == pytest.approx(0.0)
