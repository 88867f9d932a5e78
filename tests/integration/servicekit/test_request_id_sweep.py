"""Each service that remembers request ids forgets old ones by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from servicekit.database import Database
from servicekit.request_ids import RequestIdMixin
from services.labeler.tables import RequestIdRow as LabelerRow
from services.registry.tables import RequestIdRow as RegistryRow
from services.trainer.application import TrainerApplication
from services.trainer.config import read_config
from services.trainer.tables import RequestIdRow as TrainerRow
from tests.grpc.labeler.harness import running_labeler
from tests.grpc.registry.harness import running_registry
from tests.waiting import until

Run = Callable[[Path], AbstractAsyncContextManager[object]]


def registry(home: Path) -> AbstractAsyncContextManager[object]:
    return running_registry(home, f"sqlite+aiosqlite:///{home}/registry.db")


@asynccontextmanager
async def trainer(home: Path) -> AsyncIterator[None]:
    environment = {
        "BRANDLOOM_HOME": str(home),
        "BRANDLOOM_TOKEN": "a-token",
        "BRANDLOOM_TRAINER_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_TRAINER_METRICS_LISTEN": "",
        "BRANDLOOM_TRAINER_WORKERS": "0",
    }
    application = TrainerApplication(read_config(environment))
    await application.start()
    yield
    await application.stop()


@pytest.mark.parametrize(
    ("service", "table", "run"),
    [
        ("registry", RegistryRow, registry),
        ("labeler", LabelerRow, running_labeler),
        ("trainer", TrainerRow, trainer),
    ],
)
async def test_ids_of_the_last_month_are_remembered(
    service: str, table: type[RequestIdMixin], run: Run, tmp_path: Path
) -> None:
    async with run(tmp_path):
        pass  # it has made its tables
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/{service}.db")
    now = datetime.now(UTC)
    async with database.transaction() as session:
        for days in (29, 31):
            age = timedelta(days=days)
            row = {"scope": "acme", "request_id": f"{days} days", "body_digest": "d", "response_name": "x"}
            await session.execute(insert(table).values(**row, create_time=now - age))

    async def remembered() -> list[str]:
        async with database.snapshot() as session:
            return list(await session.scalars(select(table.request_id)))

    async def is_swept() -> bool:
        return await remembered() == ["29 days"]

    async with run(tmp_path):
        await until(is_swept)
    await database.dispose()
