"""What a worker says, in what order, and when it falls silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

from servicekit.errors import Aborted
from services.trainer.events import JobState, MetricPoint, Notice, Payload, Progress
from services.trainer.service_workers import Instruction
from services.trainer.sources import Blob
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.outbox import Outbox
from services.trainer.worker.trainer_client import TrainerClient
from tests.fixtures.trainer_jobs import NOW, spec

LEASE = LeasedJob(
    name="brands/acme/trainingJobs/one",
    token=1,
    timeout=timedelta(seconds=30),
    spec=spec(),
    spec_json="{}",
    attempt=1,
    total_steps=10,
    base_source="/models/tiny",
    base_sha256="b" * 64,
    base_family="sd15",
    manifest=Blob("c" * 64, 1),
    parent=None,
    checkpoint=None,
    checkpoint_step=0,
    registration_id="",
)
PROGRESS = Progress(
    step=1,
    total_steps=10,
    epoch=1,
    loss=1.0,
    smoothed_loss=1.0,
    learning_rate=1e-4,
    images_per_second=2.0,
    seconds_left=None,
    pack_size=1,
)


class Listener:
    """Takes reports as the trainer does."""

    def __init__(self) -> None:
        self.heard: list[Payload] = []
        self.points: list[int] = []
        self.calls = 0
        self.answer: Instruction | Aborted = Instruction.CONTINUE

    async def report(
        self, lease: LeasedJob, payloads: Sequence[Payload], points: Sequence[MetricPoint]
    ) -> Instruction:
        self.calls += 1
        if isinstance(self.answer, Aborted):
            raise self.answer
        self.heard += payloads
        self.points += [point.step for point in points]
        return self.answer


def outbox() -> tuple[Outbox, Listener]:
    listener = Listener()
    return Outbox(cast(TrainerClient, cast(Any, listener)), LEASE), listener


def step(box: Outbox, number: int) -> None:
    point = MetricPoint(
        step=number, time=NOW, loss=1.0, smoothed_loss=1.0, learning_rate=1e-4, images_per_second=2.0
    )
    box.progress(replace(PROGRESS, step=number), point)


async def test_of_the_progress_only_the_newest_is_told_but_every_figure() -> None:
    box, listener = outbox()
    for number in range(1, 6):
        step(box, number)
    await box.flush()
    assert listener.heard == [replace(PROGRESS, step=5)]
    assert listener.points == [1, 2, 3, 4, 5]
    await box.flush()
    assert listener.calls == 1


async def test_events_keep_their_order() -> None:
    box, listener = outbox()
    box.tell(JobState.RUNNING)
    step(box, 1)
    box.tell(Notice("after step 1"))
    step(box, 2)
    await box.flush()
    assert listener.heard == [JobState.RUNNING, PROGRESS, Notice("after step 1"), replace(PROGRESS, step=2)]


async def test_much_is_told_in_several_calls() -> None:
    box, listener = outbox()
    for number in range(300):
        box.tell(Notice(str(number)))
    for number in range(5000):
        step(box, number)
    await box.flush()
    assert len(listener.heard) == 301
    assert listener.points == list(range(5000))
    assert listener.calls == 2


async def test_after_the_lease_is_lost_nothing_more_is_said() -> None:
    box, listener = outbox()
    listener.answer = Aborted("gone", reason="LEASE_LOST")
    box.tell(Notice("a"))
    await box.flush()
    box.tell(Notice("b"))
    await box.flush()
    assert box.lost
    assert listener.calls == 1


async def test_an_instruction_is_remembered() -> None:
    box, listener = outbox()
    listener.answer = Instruction.CANCEL
    box.tell(Notice("a"))
    await box.flush()
    listener.answer = Instruction.CONTINUE
    box.tell(Notice("b"))
    await box.flush()
    assert box.instruction is Instruction.CANCEL
