"""The trainer's tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicekit.column_types import JsonColumn, UtcDateTime
from servicekit.request_ids import RequestIdMixin


class Base(DeclarativeBase):
    """Root of the trainer's models."""


class JobRow(Base):
    """A training job. What is searched and chosen by has columns, the rest is JSON."""

    __tablename__ = "training_jobs"
    __table_args__ = (
        Index("ix_training_jobs_brand_create", "brand", "create_time"),
        Index("ix_training_jobs_queue", "state", "brand", "priority", "create_time"),
        Index("ix_training_jobs_lease", "state", "lease_expires_at"),
    )

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    brand: Mapped[str] = mapped_column(String(63))
    display_name: Mapped[str] = mapped_column(String(200))
    creator: Mapped[str] = mapped_column(String(200))
    lora: Mapped[str] = mapped_column(String(200))
    base_model: Mapped[str] = mapped_column(String(100))
    dataset_revision: Mapped[str] = mapped_column(String(256))
    base_sha256: Mapped[str] = mapped_column(String(64))
    resolution: Mapped[int] = mapped_column(Integer)
    precision: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer)
    failures: Mapped[int] = mapped_column(Integer)
    line_time: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime)
    makes_way: Mapped[bool] = mapped_column(Boolean)
    worker: Mapped[str] = mapped_column(String(63))
    leased_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fencing_token: Mapped[int] = mapped_column(BigInteger)
    completed_token: Mapped[int] = mapped_column(BigInteger)
    registration_id: Mapped[str] = mapped_column(String(36))
    lora_version: Mapped[str] = mapped_column(String(256))
    total_steps: Mapped[int] = mapped_column(BigInteger)
    images_per_second: Mapped[float] = mapped_column(Float)
    loss: Mapped[float] = mapped_column(Float)
    pack_images_per_second: Mapped[float] = mapped_column(Float)
    device_memory_bytes: Mapped[int] = mapped_column(BigInteger)
    last_sequence: Mapped[int] = mapped_column(BigInteger)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    start_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    spec: Mapped[dict[str, Any]] = mapped_column(JsonColumn)
    sources: Mapped[dict[str, Any]] = mapped_column(JsonColumn)
    advice: Mapped[list[Any]] = mapped_column(JsonColumn)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JsonColumn)
    error: Mapped[dict[str, Any] | None] = mapped_column(JsonColumn)
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JsonColumn)


class WorkerRow(Base):
    """A worker that asks for jobs."""

    __tablename__ = "training_workers"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    places: Mapped[int] = mapped_column(Integer)
    device: Mapped[str] = mapped_column(String(200))
    last_seen: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class BrandRow(Base):
    """A brand whose jobs have been leased."""

    __tablename__ = "training_brands"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    served_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MemoryRow(Base):
    """What training on one base takes on one device, as a worker has measured it."""

    __tablename__ = "training_memory"

    base_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    precision: Mapped[str] = mapped_column(String(16), primary_key=True)
    device: Mapped[str] = mapped_column(String(200), primary_key=True)
    measured_at: Mapped[datetime] = mapped_column(UtcDateTime)
    figures: Mapped[dict[str, Any]] = mapped_column(JsonColumn)


class EventRow(Base):
    """One event of a job."""

    __tablename__ = "training_events"

    job: Mapped[str] = mapped_column(ForeignKey(JobRow.name, ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(16))
    payload: Mapped[dict[str, Any]] = mapped_column(JsonColumn)


class PointRow(Base):
    """Figures of one step of a job."""

    __tablename__ = "training_points"

    job: Mapped[str] = mapped_column(ForeignKey(JobRow.name, ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    loss: Mapped[float] = mapped_column(Float)
    smoothed_loss: Mapped[float] = mapped_column(Float)
    learning_rate: Mapped[float] = mapped_column(Float)
    images_per_second: Mapped[float] = mapped_column(Float)
    validation_loss: Mapped[float | None] = mapped_column(Float)
    pack_images_per_second: Mapped[float] = mapped_column(Float)
    device_memory_bytes: Mapped[int] = mapped_column(BigInteger)


class ArtifactRow(Base):
    """A file that a job made."""

    __tablename__ = "training_artifacts"
    __table_args__ = (
        Index("ix_training_artifacts_kind", "kind"),
        Index("ix_training_artifacts_sha256", "sha256"),
    )

    job: Mapped[str] = mapped_column(ForeignKey(JobRow.name, ondelete="CASCADE"), primary_key=True)
    file_name: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(127))
    step: Mapped[int] = mapped_column(BigInteger)
    prompt: Mapped[str] = mapped_column(Text)


class DiscardedFileRow(Base):
    """A file of the artifact store that no job has any more and that is to be deleted."""

    __tablename__ = "training_discarded_files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)


class RequestIdRow(RequestIdMixin, Base):
    """Requests that were answered before."""

    __tablename__ = "training_request_ids"
