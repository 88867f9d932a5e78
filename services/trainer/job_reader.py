"""Reads jobs, their events, figures and files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from servicekit.errors import AlreadyExists, InvalidArgument
from servicekit.filtering import FieldKind, FilterField
from servicekit.listing import ListQuery, Page, list_page
from services.trainer.events import ArtifactKind, Event, JobArtifact, JobState, MetricPoint
from services.trainer.job_codec import read_event, read_job
from services.trainer.packing_records import SqlPacking
from services.trainer.ports import JobHead, JobPage, JobQuery, JobRecord, PackFigures, QueueFigures
from services.trainer.sources import Blob
from services.trainer.states import LEASED_VALUES
from services.trainer.tables import ArtifactRow, DiscardedFileRow, EventRow, JobRow, PointRow, RequestIdRow

# Both `state = RUNNING` and, as the API spells it, `state = JOB_STATE_RUNNING`.
_STATES: Final = {
    spelling: state.value for state in JobState for spelling in (state.name, f"JOB_STATE_{state.name}")
}
FIELDS: Final[Mapping[str, FilterField]] = MappingProxyType(
    {
        "name": FilterField(JobRow.name, FieldKind.TEXT),
        "display_name": FilterField(JobRow.display_name, FieldKind.TEXT),
        "state": FilterField(JobRow.state, FieldKind.CHOICE, choices=_STATES),
        "lora": FilterField(JobRow.lora, FieldKind.TEXT),
        "base_model": FilterField(JobRow.base_model, FieldKind.TEXT),
        "dataset_revision": FilterField(JobRow.dataset_revision, FieldKind.TEXT),
        "priority": FilterField(JobRow.priority, FieldKind.INTEGER),
        "create_time": FilterField(JobRow.create_time, FieldKind.TIME),
        "end_time": FilterField(JobRow.end_time, FieldKind.TIME),
    }
)
_CHECKPOINT: Final = ArtifactKind.CHECKPOINT.value
_MOST_FILES: Final = 64
_FEWEST_FILES: Final = 1
"""Files of one kind in an answer about one job, and about each of many."""


class SqlJobReader:
    """JobReader over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    @property
    def packing(self) -> SqlPacking:
        """See JobReader."""
        return SqlPacking(self._session)

    async def find(self, name: str) -> JobRecord | None:
        """See JobReader; files are in the order of their steps."""
        row = await self._session.get(JobRow, name)
        if row is None:
            return None
        return (await self._records([row]))[0]

    async def page(self, query: JobQuery, brands: frozenset[str] | None) -> JobPage:
        """See JobReader; the newest jobs come first unless the query says otherwise."""
        if re.search(r"\bend_time\b", query.order_by):
            raise InvalidArgument.of("order_by", "cannot be end_time: jobs that have not ended have none")
        # list_page names the row in another way than SQLAlchemy's own types do.
        statement: Any = select(JobRow)
        if brands is not None:
            statement = statement.where(JobRow.brand.in_(brands))
        page: Page[JobRow] = await list_page(
            self._session,
            statement,
            FIELDS,
            ListQuery(
                page_size=query.page_size,
                page_token=query.page_token,
                filter=query.filter,
                order_by=query.order_by,
            ),
            scope=("trainingJobs", *(["-"] if brands is None else sorted(brands))),
            default_order="create_time desc",
            tie_breaker="name",
        )
        return JobPage(tuple(await self._records(page.items)), page.next_page_token)

    async def head(self, name: str) -> JobHead | None:
        """See JobReader."""
        found = await self._session.execute(
            select(JobRow.state, JobRow.last_sequence).where(JobRow.name == name)
        )
        row = found.one_or_none()
        return None if row is None else JobHead(JobState(row.state), row.last_sequence)

    async def events(self, name: str, *, after: int, limit: int) -> list[Event]:
        """See JobReader."""
        rows = await self._session.scalars(
            select(EventRow)
            .where(EventRow.job == name, EventRow.sequence > after)
            .order_by(EventRow.sequence)
            .limit(limit)
        )
        return [read_event(row) for row in rows]

    async def points(self, name: str, *, at_most: int) -> list[MetricPoint]:
        """See JobReader; thinned by the database. Steps with an evaluation get up to half of the places."""
        counts = select(func.count(), func.count(PointRow.validation_loss)).where(PointRow.job == name)
        total, evaluated = (await self._session.execute(counts)).one()
        kept = min(evaluated, at_most // 2) if total > at_most else 0
        place = func.row_number().over(order_by=PointRow.step).label("place")
        of_kind = func.row_number().over(
            partition_by=PointRow.validation_loss.is_(None), order_by=PointRow.step
        )
        placed = select(PointRow, place, of_kind.label("of_kind")).where(PointRow.job == name).subquery()
        stride = -(-(total - 1) // max(at_most - kept - 1, 1)) or 1
        chosen = [placed.c.place == total]
        if at_most > 1:
            chosen.append((placed.c.place - 1) % stride == 0)
        if kept:
            nth = (placed.c.of_kind - 1) % -(-evaluated // kept) == 0
            chosen.append(and_(placed.c.validation_loss.is_not(None), nth))
        rows = await self._session.execute(select(placed).where(or_(*chosen)).order_by(placed.c.step))
        return [_point(row) for row in rows]

    async def artifact(self, name: str, file_name: str) -> JobArtifact | None:
        """See JobReader."""
        row = await self._session.get(ArtifactRow, (name, file_name))
        return None if row is None else _artifact(row)

    async def answered(self, brand: str, request_id: str, body_digest: str) -> str | None:
        """See JobReader."""
        row = await self._session.get(RequestIdRow, (brand, request_id))
        if row is None:
            return None
        if row.body_digest != body_digest:
            raise AlreadyExists(
                f"request id {request_id} was used before, for another request",
                reason="REQUEST_ID_REUSED",
                metadata={"request_id": request_id, "resource_name": row.response_name},
            )
        return row.response_name

    async def lease_holders(self, prefix: str) -> set[str]:
        """See JobReader."""
        found = await self._session.scalars(
            select(JobRow.worker)
            .distinct()
            .where(JobRow.state.in_(LEASED_VALUES), func.substr(JobRow.worker, 1, len(prefix)) == prefix)
        )
        return set(found)

    async def figures(self) -> QueueFigures:
        """See JobReader."""
        waiting = select(func.count()).where(JobRow.state == JobState.QUEUED.value).scalar_subquery()
        leased = select(func.count()).where(JobRow.state.in_(LEASED_VALUES)).scalar_subquery()
        training = JobRow.state == JobState.RUNNING.value
        rate = (
            select(func.coalesce(func.sum(JobRow.images_per_second), 0.0)).where(training).scalar_subquery()
        )
        loss = select(func.coalesce(func.avg(JobRow.loss), 0.0)).where(training).scalar_subquery()
        row = (await self._session.execute(select(waiting, leased, rate, loss))).one()
        # All jobs of a pack tell the same, some a moment before the others.
        packs = await self._session.execute(
            select(
                JobRow.worker,
                func.max(JobRow.pack_images_per_second),
                func.max(JobRow.device_memory_bytes),
            )
            .where(training)
            .group_by(JobRow.worker)
            .order_by(JobRow.worker)
        )
        return QueueFigures(row[0], row[1], row[2], row[3], tuple(PackFigures(*pack) for pack in packs))

    async def worn_checkpoints(self, ended_before: datetime, *, limit: int) -> list[str]:
        """See JobReader; in the order of the names."""
        newer = aliased(ArtifactRow)
        superseded = exists().where(
            newer.job == ArtifactRow.job, newer.kind == _CHECKPOINT, newer.step > ArtifactRow.step
        )
        resumable = JobRow.state.in_([JobState.FAILED.value, JobState.CANCELLED.value])
        found = await self._session.scalars(
            select(ArtifactRow.job)
            .distinct()
            .join(JobRow, JobRow.name == ArtifactRow.job)
            .where(
                ArtifactRow.kind == _CHECKPOINT,
                or_(
                    JobRow.state == JobState.SUCCEEDED.value,
                    and_(resumable, JobRow.end_time < ended_before),
                    superseded,
                ),
            )
            .order_by(ArtifactRow.job)
            .limit(limit)
        )
        return list(found)

    async def discarded_files(self, *, limit: int) -> list[str]:
        """See JobReader."""
        return list(await self._session.scalars(select(DiscardedFileRow.sha256).limit(limit)))

    async def _records(self, rows: list[JobRow]) -> list[JobRecord]:
        files: defaultdict[str, list[JobArtifact]] = defaultdict(list)
        for row in await self._session.scalars(_newest_files([row.name for row in rows])):
            files[row.job].append(_artifact(row))
        return [JobRecord(job=read_job(row), artifacts=tuple(files[row.name])) for row in rows]


def _newest_files(jobs: list[str]) -> Select[Any]:
    """The newest files of each kind of each job, so that an answer fits a message however long a job ran;
    the events tell of all of them.
    """
    place = func.row_number().over(
        partition_by=(ArtifactRow.job, ArtifactRow.kind),
        order_by=(ArtifactRow.step.desc(), ArtifactRow.file_name.desc()),
    )
    placed = (
        select(ArtifactRow.job, ArtifactRow.file_name, place.label("place"))
        .where(ArtifactRow.job.in_(jobs))
        .subquery()
    )
    most = max(_FEWEST_FILES, _MOST_FILES // max(len(jobs), 1))
    return (
        select(ArtifactRow)
        .join(placed, (placed.c.job == ArtifactRow.job) & (placed.c.file_name == ArtifactRow.file_name))
        .where(placed.c.place <= most)
        .order_by(ArtifactRow.step, ArtifactRow.file_name)
    )


def _point(row: Any) -> MetricPoint:
    return MetricPoint(
        step=row.step,
        time=row.time,
        loss=row.loss,
        smoothed_loss=row.smoothed_loss,
        learning_rate=row.learning_rate,
        images_per_second=row.images_per_second,
        validation_loss=row.validation_loss,
        pack_images_per_second=row.pack_images_per_second,
        device_memory_bytes=row.device_memory_bytes,
    )


def _artifact(row: ArtifactRow) -> JobArtifact:
    return JobArtifact(
        kind=ArtifactKind(row.kind),
        file_name=row.file_name,
        blob=Blob(row.sha256, row.size_bytes),
        media_type=row.media_type,
        step=row.step,
        prompt=row.prompt,
    )
