from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, text

from servicekit.database import Database, migrate
from servicekit.migrations import schema_drift

METADATA = MetaData()
Table("things", METADATA, Column("id", Integer, primary_key=True), Column("name", String(20), nullable=False))

ENV = """
from sqlalchemy import MetaData
from servicekit.migrations_env import run_migrations
run_migrations(MetaData())
"""
FIRST = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "0001", None, None, None
def upgrade():
    op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))
def downgrade():
    op.drop_table("things")
"""
SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None
def upgrade():
    with op.batch_alter_table("things") as batch:
        batch.add_column(sa.Column("name", sa.String(20), nullable=False, server_default=""))
        {then}
def downgrade():
    raise NotImplementedError
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "odd % name" / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "versions" / "first.py").write_text(FIRST)
    (folder / "versions" / "second.py").write_text(SECOND.format(then="pass"))
    return folder


async def names(url: str) -> list[str]:
    database = Database(url)
    async with database.snapshot() as session:
        found = list((await session.execute(text("SELECT version_num FROM alembic_version"))).scalars())
    await database.dispose()
    return found


async def test_migrations_reach_the_head_and_stay_there(database_url: str, scripts: Path) -> None:
    migrate(database_url, scripts)
    migrate(database_url, scripts)
    assert await names(database_url) == ["0002"]
    assert schema_drift(database_url, METADATA) == []


def test_drift_is_told(database_url: str, scripts: Path) -> None:
    migrate(database_url, scripts, revision="0001")
    assert [change[0] for change in schema_drift(database_url, METADATA)] == ["add_column"]


async def test_processes_that_migrate_at_once_do_not_clash(database_url: str, scripts: Path) -> None:
    await asyncio.gather(*(_migrate_in_a_process(database_url, scripts) for _ in range(2)))
    assert await names(database_url) == ["0002"]


async def test_a_migration_that_fails_can_be_repeated(database_url: str, scripts: Path) -> None:
    second = scripts / "versions" / "second.py"
    second.write_text(SECOND.format(then='raise RuntimeError("disk full")'))
    with pytest.raises(RuntimeError, match="disk full"):
        migrate(database_url, scripts)
    second.write_text(SECOND.format(then="pass") + "# mended\n")
    migrate(database_url, scripts)
    assert await names(database_url) == ["0002"]
    assert schema_drift(database_url, METADATA) == []


async def _migrate_in_a_process(url: str, scripts: Path) -> None:
    import sys

    code = "import sys; from servicekit.database import migrate; migrate(sys.argv[1], sys.argv[2])"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        url,
        str(scripts),
        cwd=Path(__file__).parents[3],
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
