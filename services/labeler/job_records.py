"""Label jobs and their events in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import NotFound
from servicekit.filtering import FieldKind, FilterField
from services.labeler.domain import (
    Failure,
    JobState,
    LabeledImage,
    LabelEvent,
    LabelJob,
    LabelProgress,
    ListQuery,
    Page,
)
from services.labeler.keys import DatasetKey, JobKey
from services.labeler.paging import page_of
from services.labeler.tables import LabelEventRow, LabelJobRow

_STATE_WORDS: Final = {
    word: state.value for state in JobState for word in (state.name, f"JOB_STATE_{state.name}", state.value)
}
_LEASED: Final = (JobState.PREPARING.value, JobState.RUNNING.value, JobState.CANCELLING.value)
FIELDS: Final = {
    "job_id": FilterField(LabelJobRow.job, FieldKind.TEXT),
    "state": FilterField(LabelJobRow.state, FieldKind.CHOICE, choices=_STATE_WORDS),
    "create_time": FilterField(LabelJobRow.create_time, FieldKind.TIME),
    "end_time": FilterField(LabelJobRow.end_time, FieldKind.TIME),
}


class SqlJobRecords:
    """JobRecords within one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: JobKey, *, lock: bool = False) -> LabelJob:
        statement = select(LabelJobRow).where(_of(key.parent), LabelJobRow.job == key.job)
        row = await self._session.scalar(statement.with_for_update() if lock else statement)
        if row is None:
            raise NotFound.of("LabelJob", key.name)
        return _job(row)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[LabelJob]:
        return await page_of(
            self._session,
            select(LabelJobRow).where(_of(parent)),
            FIELDS,
            query,
            _job,
            scope=("label_jobs", parent.name),
            default_order="create_time desc",
            tie_breaker="job_id",
        )

    async def add(self, job: LabelJob) -> None:
        await self._session.execute(insert(LabelJobRow).values(**_columns(job)))

    async def replace(self, job: LabelJob) -> None:
        await self._session.execute(
            update(LabelJobRow).where(LabelJobRow.job == job.key.job).values(**_columns(job))
        )

    async def claimable(self, now: datetime) -> LabelJob | None:
        free = or_(LabelJobRow.lease_until.is_(None), LabelJobRow.lease_until < now)
        row = await self._session.scalar(
            select(LabelJobRow)
            .where(LabelJobRow.state.in_((JobState.QUEUED.value, *_LEASED)), free)
            .order_by(LabelJobRow.create_time, LabelJobRow.job)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return None if row is None else _job(row)

    async def waiting(self) -> int:
        statement = select(func.count()).where(LabelJobRow.state == JobState.QUEUED.value)
        return await self._session.scalar(statement) or 0

    async def add_events(self, key: JobKey, events: Sequence[LabelEvent]) -> None:
        rows = []
        for event in events:
            kind, body = _event_body(event.event)
            rows.append(
                {"job": key.job, "sequence": event.sequence, "time": event.time, "kind": kind, "body": body}
            )
        if rows:
            await self._session.execute(insert(LabelEventRow), rows)

    async def events_after(self, key: JobKey, sequence: int, limit: int) -> list[LabelEvent]:
        rows = await self._session.scalars(
            select(LabelEventRow)
            .where(LabelEventRow.job == key.job, LabelEventRow.sequence > sequence)
            .order_by(LabelEventRow.sequence)
            .limit(limit)
        )
        return [LabelEvent(row.sequence, row.time, _EVENT_READERS[row.kind](row.body)) for row in rows]


def _of(parent: DatasetKey) -> ColumnElement[bool]:
    return and_(LabelJobRow.brand == parent.brand, LabelJobRow.dataset == parent.dataset)


def _event_body(event: JobState | LabelProgress | LabeledImage | Failure) -> tuple[str, dict[str, Any]]:
    match event:
        case JobState():
            return "state", {"state": event.value}
        case LabelProgress():
            return "progress", _progress_body(event)
        case LabeledImage():
            failure = [event.failure.reason, event.failure.message] if event.failure else None
            return "labeled", {"image": event.image, "caption": event.caption, "failure": failure}
        case Failure():
            return "error", {"reason": event.reason, "message": event.message}


def _progress_body(progress: LabelProgress) -> dict[str, Any]:
    return {
        "done": progress.done,
        "total": progress.total,
        "failed": progress.failed,
        "images_per_second": progress.images_per_second,
        "seconds_left": progress.seconds_left,
    }


def _labeled(body: dict[str, Any]) -> LabeledImage:
    return LabeledImage(
        body["image"], body["caption"], Failure(*body["failure"]) if body["failure"] else None
    )


_EVENT_READERS: Final[dict[str, Any]] = {
    "state": lambda body: JobState(body["state"]),
    "progress": lambda body: LabelProgress(**body),
    "labeled": _labeled,
    "error": lambda body: Failure(**body),
}


def _columns(job: LabelJob) -> dict[str, Any]:
    return {
        "job": job.key.job,
        "brand": job.key.parent.brand,
        "dataset": job.key.parent.dataset,
        "overwrite": job.overwrite,
        "trigger_word": job.trigger_word,
        "batch_size": job.batch_size,
        "max_tokens": job.max_tokens,
        "captioner": job.captioner,
        "state": job.state.value,
        "progress": _progress_body(job.progress),
        "error_reason": job.error.reason if job.error else "",
        "error_message": job.error.message if job.error else "",
        "create_time": job.create_time,
        "start_time": job.start_time,
        "end_time": job.end_time,
        "etag": job.etag,
        "attempts": job.attempts,
        "fence": job.fence,
        "lease_until": job.lease_until,
        "last_sequence": job.last_sequence,
    }


def _job(row: LabelJobRow) -> LabelJob:
    return LabelJob(
        key=JobKey(DatasetKey(row.brand, row.dataset), row.job),
        overwrite=row.overwrite,
        trigger_word=row.trigger_word,
        batch_size=row.batch_size,
        max_tokens=row.max_tokens,
        captioner=row.captioner,
        state=JobState(row.state),
        progress=LabelProgress(**row.progress),
        error=Failure(row.error_reason, row.error_message) if row.error_reason else None,
        create_time=row.create_time,
        start_time=row.start_time,
        end_time=row.end_time,
        etag=row.etag,
        attempts=row.attempts,
        fence=row.fence,
        lease_until=row.lease_until,
        last_sequence=row.last_sequence,
    )
