"""Jobs in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.clock import Clock
from servicekit.database import Database
from servicekit.request_ids import remember
from services.trainer.domain import Job
from services.trainer.events import ArtifactKind, JobArtifact, MetricPoint
from services.trainer.inserting import insert_into
from services.trainer.job_codec import read_job, write_event, write_job
from services.trainer.job_reader import SqlJobReader
from services.trainer.states import LEASED_VALUES
from services.trainer.tables import ArtifactRow, DiscardedFileRow, JobRow, PointRow, RequestIdRow


class SqlJobs:
    """Jobs over one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlJobTransaction]:
        """A view that may change; commits at the end, rolls back on an exception."""
        async with self._database.transaction() as session:
            yield SqlJobTransaction(session, self._clock)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqlJobReader]:
        """One consistent view."""
        async with self._database.snapshot() as session:
            yield SqlJobReader(session)


class SqlJobTransaction(SqlJobReader):
    """JobTransaction over one session."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        super().__init__(session)
        self._clock = clock
        self._rows: dict[str, JobRow] = {}

    async def lock(self, name: str) -> Job | None:
        """See JobTransaction; SELECT ... FOR UPDATE where the database has it."""
        jobs = await self._locked(select(JobRow).where(JobRow.name == name))
        return jobs[0] if jobs else None

    async def insert(self, job: Job) -> None:
        """See JobTransaction."""
        row = JobRow()
        write_job(job, row)
        self._session.add(row)
        self._rows[job.name] = row
        await self._session.flush()  # events refer to the row
        await self._append_events(job)

    async def save(self, job: Job) -> None:
        """See JobTransaction."""
        write_job(job, self._rows[job.name])
        await self._append_events(job)

    async def put_points(self, name: str, points: Sequence[MetricPoint]) -> None:
        """See JobTransaction."""
        if not points:
            return
        latest = {point.step: point for point in points}
        rows = [
            {
                "job": name,
                "step": point.step,
                "time": point.time,
                "loss": point.loss,
                "smoothed_loss": point.smoothed_loss,
                "learning_rate": point.learning_rate,
                "images_per_second": point.images_per_second,
                "validation_loss": point.validation_loss,
                "pack_images_per_second": point.pack_images_per_second,
                "device_memory_bytes": point.device_memory_bytes,
            }
            for point in latest.values()
        ]
        statement = insert_into(self._session, PointRow)
        changed = {column: statement.excluded[column] for column in rows[0] if column not in {"job", "step"}}
        await self._session.execute(
            statement.on_conflict_do_update(index_elements=["job", "step"], set_=changed), rows
        )

    async def lock_queued(self, names: Sequence[str]) -> list[Job]:
        """See JobTransaction; rows that others hold are passed over."""
        if not names:
            return []
        jobs = await self._locked(
            select(JobRow).where(JobRow.name.in_(names), JobRow.state == "queued"), skip_locked=True
        )
        return sorted(jobs, key=lambda job: names.index(job.name))

    async def lock_expired(self, now: datetime) -> list[Job]:
        """See JobTransaction."""
        expired = select(JobRow).where(JobRow.state.in_(LEASED_VALUES), JobRow.lease_expires_at < now)
        return await self._locked(expired, skip_locked=True)

    async def lock_held_by(self, worker: str) -> list[Job]:
        """See JobTransaction."""
        return await self._locked(
            select(JobRow).where(JobRow.state.in_(LEASED_VALUES), JobRow.worker == worker)
        )

    async def remember(self, brand: str, request_id: str, body_digest: str, name: str) -> str | None:
        """See JobTransaction."""
        return await remember(
            self._session,
            RequestIdRow,
            scope=brand,
            request_id=request_id,
            body_digest=body_digest,
            response_name=name,
            now=self._clock.now(),
        )

    async def discard_checkpoints(self, name: str, *, keep: str) -> None:
        """See JobTransaction."""
        worn = (
            ArtifactRow.job == name,
            ArtifactRow.kind == ArtifactKind.CHECKPOINT.value,
            ArtifactRow.sha256 != keep,
        )
        files = set(await self._session.scalars(select(ArtifactRow.sha256).where(*worn)))
        if files:
            rows = [{"sha256": sha256} for sha256 in files]
            await self._session.execute(
                insert_into(self._session, DiscardedFileRow).on_conflict_do_nothing(), rows
            )
            await self._session.execute(delete(ArtifactRow).where(*worn))

    async def forget_discarded(self, sha256: str) -> None:
        """See JobTransaction."""
        await self._session.execute(delete(DiscardedFileRow).where(DiscardedFileRow.sha256 == sha256))

    async def is_referenced(self, sha256: str) -> bool:
        """See JobTransaction."""
        found = select(ArtifactRow.job).where(ArtifactRow.sha256 == sha256).limit(1)
        return await self._session.scalar(found) is not None

    async def _locked(self, statement: Select[JobRow], *, skip_locked: bool = False) -> list[Job]:
        found = await self._session.scalars(
            statement.order_by(JobRow.name)
            .with_for_update(skip_locked=skip_locked)
            .execution_options(populate_existing=True)
        )
        rows = found.all()
        self._rows |= {row.name: row for row in rows}
        return [read_job(row) for row in rows]

    async def _append_events(self, job: Job) -> None:
        self._session.add_all([write_event(job.name, event) for event in job.new_events])
        artifacts = [event.payload for event in job.new_events if isinstance(event.payload, JobArtifact)]
        job.new_events.clear()
        await self._session.flush()
        for artifact in artifacts:
            await self._put_artifact(job.name, artifact)

    async def _put_artifact(self, name: str, artifact: JobArtifact) -> None:
        values = {
            "kind": artifact.kind.value,
            "sha256": artifact.blob.sha256,
            "size_bytes": artifact.blob.size_bytes,
            "media_type": artifact.media_type,
            "step": artifact.step,
            "prompt": artifact.prompt,
        }
        statement = insert_into(self._session, ArtifactRow).values(
            job=name, file_name=artifact.file_name, **values
        )
        await self._session.execute(
            statement.on_conflict_do_update(index_elements=["job", "file_name"], set_=values)
        )
