"""Calls that nobody answers are made again, for so long and no longer."""

from __future__ import annotations

import socket

import pytest

from servicekit.channels import open_channel
from servicekit.errors import Aborted, NotFound, ServiceError, Unavailable
from services.trainer.events import JobState, Notice
from services.trainer.worker.outbox import Outbox
from services.trainer.worker.patience import Patience
from services.trainer.worker.trainer_client import TrainerClient
from tests.unit.trainer.test_outbox import LEASE


class Caller:
    """Raises the errors in turn, the last one for ever; None is an answer."""

    def __init__(self, *errors: ServiceError | None) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error is not None:
            raise error
        return "answer"


async def test_a_call_is_made_again_until_it_is_answered() -> None:
    caller = Caller(Unavailable("away"), Unavailable("away"), None)
    assert await Patience(30.0).until_answered(caller, "call") == "answer"
    assert caller.calls == 3


async def test_patience_ends() -> None:
    caller = Caller(Unavailable("away"))
    with pytest.raises(Unavailable, match="away"):
        await Patience(0.5).until_answered(caller, "call")
    assert 2 <= caller.calls <= 5


async def test_an_answer_that_is_an_error_is_one() -> None:
    caller = Caller(NotFound("nothing"))
    with pytest.raises(NotFound):
        await Patience(30.0).until_answered(caller, "call")
    assert caller.calls == 1


async def test_the_lease_counts_as_lost_when_the_trainer_is_silent_for_too_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with open_channel(f"127.0.0.1:{port}", token="t") as channel:
        trainer = TrainerClient(channel, "worker", Patience(0.3))
        outbox = Outbox(trainer, LEASE)
        outbox.tell(Notice("words"))
        await outbox.flush()
        assert outbox.lost
        with pytest.raises(Aborted) as caught:
            await trainer.complete(LEASE, JobState.CANCELLED)
    assert caught.value.reason == "TRAINER_SILENT"
