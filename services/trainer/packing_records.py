"""What the packer looks at, in SQLite or PostgreSQL: who waits, who trains where, what was measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, Select, case, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.trainer.events import JobState
from services.trainer.inserting import insert_into
from services.trainer.job_codec import read_spec
from services.trainer.leasing import SUSPECT_FAILURES, Candidate, PackKey, Queue, QueueRules, Wish
from services.trainer.memory_figures import AdapterNumbers, BaseMemory, PassMemory
from services.trainer.preemption import Running, Seat
from services.trainer.spec import Precision, Target, TrainingSpec
from services.trainer.states import LEASED_VALUES
from services.trainer.tables import Base, BrandRow, JobRow, MemoryRow, WorkerRow

_QUEUED: Final = JobState.QUEUED.value
_LONGEST_LINE: Final = 10_000
_LINE_COLUMNS: Final = (
    JobRow.name,
    JobRow.brand,
    JobRow.priority,
    JobRow.line_time,
    JobRow.not_before,
    JobRow.base_sha256,
    JobRow.resolution,
    JobRow.precision,
    JobRow.failures,
    JobRow.total_steps,
    JobRow.checkpoint,
)
_SEEN_EVERY: Final = timedelta(seconds=5)
_KEEP_MEMORY: Final = timedelta(hours=6)
"""What was free then may be another amount by now: figures that no pack has told again count no more."""


class SqlPacking:
    """PackingRecords over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def queue(self, now: datetime, rules: QueueRules, wish: Wish | None) -> Queue:
        """See PackingReader."""
        if wish is None:
            # Whole rows with all their JSON would take seconds for a line of thousands.
            line = select(*_LINE_COLUMNS).where(JobRow.state == _QUEUED).order_by(*_order(now, rules))
            found = await self._session.execute(line.limit(_LONGEST_LINE))
            waiting = [_candidate(row) for row in found]
        else:
            # Of each brand the first ones whatever they need, for the rules about long waits, and the first
            # that fit.
            names = {
                *await self._session.scalars(_first(now, rules, wish)),
                *await self._session.scalars(_fitting(now, rules, wish)),
            }
            rows = await self._session.scalars(select(JobRow).where(JobRow.name.in_(names)))
            waiting = [replace(_candidate(row), spec=read_spec(row.spec)) for row in rows]
        return Queue(
            waiting=waiting,
            running=await self._running_by_brand(),
            served=await self._served(),
            now=now,
            rules=rules,
        )

    async def specs(self, names: Sequence[str]) -> Mapping[str, TrainingSpec]:
        """See PackingReader."""
        rows = await self._session.execute(select(JobRow.name, JobRow.spec).where(JobRow.name.in_(names)))
        return {row.name: read_spec(row.spec) for row in rows}

    async def running(self) -> list[Running]:
        """See PackingReader."""
        rows = await self._session.scalars(
            select(JobRow).where(JobRow.state.in_(LEASED_VALUES)).order_by(JobRow.name)
        )
        return [_running(row) for row in rows]

    async def seats(self, seen_after: datetime) -> list[Seat]:
        """See PackingReader."""
        rows = await self._session.scalars(
            select(WorkerRow).where(WorkerRow.last_seen > seen_after).order_by(WorkerRow.name)
        )
        return [Seat(row.name, row.places, row.device) for row in rows]

    async def memories(self, base_sha256: Sequence[str]) -> list[BaseMemory]:
        """See PackingReader."""
        rows = await self._session.scalars(
            select(MemoryRow).where(MemoryRow.base_sha256.in_(base_sha256)).order_by(MemoryRow.device)
        )
        return [_memory(row) for row in rows]

    async def see(self, seat: Seat, now: datetime) -> None:
        """See PackingRecords."""
        row = await self._session.get(WorkerRow, seat.worker)
        same = row is not None and (row.places, row.device) == (seat.places, seat.device)
        if row is not None and same and now - row.last_seen < _SEEN_EVERY:
            return
        values = {"places": seat.places, "device": seat.device, "last_seen": now}
        await self._put(WorkerRow, {"name": seat.worker}, values)

    async def see_again(self, worker: str, now: datetime) -> None:
        """See PackingRecords."""
        row = await self._session.get(WorkerRow, worker)
        if row is not None and now - row.last_seen >= _SEEN_EVERY:
            row.last_seen = now
            await self._session.flush()

    async def serve(self, brands: Collection[str], now: datetime) -> None:
        """See PackingRecords."""
        for brand in sorted(set(brands)):  # one order for all: no deadlocks
            await self._put(BrandRow, {"name": brand}, {"served_at": now})

    async def put_memory(self, memory: BaseMemory, now: datetime) -> None:
        """See PackingRecords."""
        key = {
            "base_sha256": memory.base_sha256,
            "precision": memory.precision.value,
            "device": memory.device,
        }
        await self._put(MemoryRow, key, {"measured_at": now, "figures": _figures(memory)})

    async def forget(self, now: datetime, silent_since: datetime) -> None:
        """See PackingRecords."""
        await self._session.execute(delete(WorkerRow).where(WorkerRow.last_seen < silent_since))
        await self._session.execute(delete(MemoryRow).where(MemoryRow.measured_at < now - _KEEP_MEMORY))

    async def _put(self, table: type[Base], key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        statement = insert_into(self._session, table).values(**key, **values)
        changed = statement.on_conflict_do_update(index_elements=list(key), set_=dict(values))
        await self._session.execute(changed)

    async def _served(self) -> Mapping[str, datetime]:
        return {row.name: row.served_at for row in await self._session.scalars(select(BrandRow))}

    async def _running_by_brand(self) -> Mapping[str, int]:
        counted = (
            select(JobRow.brand, func.count()).where(JobRow.state.in_(LEASED_VALUES)).group_by(JobRow.brand)
        )
        found = await self._session.execute(counted)
        return {row[0]: row[1] for row in found}


def _order(now: datetime, rules: QueueRules) -> tuple[Any, ...]:
    """The order within a brand, as Queue.rank has it."""
    aged = case((JobRow.not_before <= now - rules.aging, 0), else_=1)
    priority = case((JobRow.not_before <= now - rules.aging, 0), else_=-JobRow.priority)
    return aged, priority, JobRow.line_time, JobRow.name


def _first(now: datetime, rules: QueueRules, wish: Wish) -> Select[tuple[str]]:
    """Names of the first queued jobs of each brand."""
    place = func.row_number().over(partition_by=JobRow.brand, order_by=_order(now, rules))
    queued = (
        select(JobRow.name, place.label("place"))
        .where(JobRow.state == _QUEUED, JobRow.not_before <= now)
        .subquery()
    )
    return select(queued.c.name).where(queued.c.place <= wish.max_jobs)


def _fitting(now: datetime, rules: QueueRules, wish: Wish) -> Select[tuple[str]]:
    """Names of the first queued jobs of each brand that could join the worker's pack."""
    conditions = [JobRow.state == _QUEUED, JobRow.not_before <= now]
    if wish.joining is not None:
        key = wish.joining
        conditions += [
            JobRow.base_sha256 == key.base_sha256,
            JobRow.resolution == key.resolution,
            JobRow.precision == key.precision.value,
        ]
    elif wish.base_sha256:
        conditions.append(JobRow.base_sha256 == wish.base_sha256)
    place = func.row_number().over(
        partition_by=(JobRow.brand, JobRow.base_sha256, JobRow.resolution, JobRow.precision),
        order_by=_order(now, rules),
    )
    placed = select(JobRow.name, place.label("place")).where(*conditions).subquery()
    return select(placed.c.name).where(placed.c.place <= wish.max_jobs)


def _key(row: JobRow | Row[Any]) -> PackKey:
    return PackKey(row.base_sha256, row.resolution, Precision(row.precision))


def _steps_done(row: JobRow) -> int:
    return int(row.progress["step"]) if row.progress else 0


def _candidate(row: JobRow | Row[Any]) -> Candidate:
    """Without its spec; `row` is a job's, or has the _LINE_COLUMNS of one."""
    return Candidate(
        name=row.name,
        brand=row.brand,
        priority=row.priority,
        line_time=row.line_time,
        waiting_since=row.not_before,
        pack_key=_key(row),
        failures=row.failures,
        steps_left=max(0, row.total_steps - (row.checkpoint["step"] if row.checkpoint else 0)),
    )


def _running(row: JobRow) -> Running:
    return Running(
        name=row.name,
        brand=row.brand,
        priority=row.priority,
        pack_key=_key(row),
        worker=row.worker,
        since=row.leased_at or row.create_time,
        prepares=row.state == JobState.PREPARING.value,
        came_back=row.line_time > row.create_time,
        is_suspect=row.failures >= SUSPECT_FAILURES,
        makes_way=row.makes_way and row.state != JobState.CANCELLING.value,
        steps_left=max(0, row.total_steps - _steps_done(row)),
        seconds_left=row.progress.get("seconds_left") if row.progress else None,
        spec=read_spec(row.spec),
    )


def _figures(memory: BaseMemory) -> dict[str, Any]:
    figures = asdict(memory)
    for named in ("base_sha256", "precision", "device"):
        del figures[named]
    figures["adapters"] = [[part.target.value, part.text_encoder, part.per_rank] for part in memory.adapters]
    return figures


def _memory(row: MemoryRow) -> BaseMemory:
    figures = row.figures
    adapters = (AdapterNumbers(Target(target), te, per_rank) for target, te, per_rank in figures["adapters"])
    return BaseMemory(
        base_sha256=row.base_sha256,
        precision=Precision(row.precision),
        device=row.device,
        free_bytes=figures["free_bytes"],
        pass_bytes=figures["pass_bytes"],
        adapters=tuple(adapters),
        passes=tuple(PassMemory(**measured) for measured in figures["passes"]),
    )
