"""The labeler's tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicekit.column_types import JsonColumn, UtcDateTime
from servicekit.request_ids import RequestIdMixin

_DATASET_KEY = ["brand", "dataset"]


class Base(DeclarativeBase):
    """Metadata of all tables of this service."""


class RequestIdRow(RequestIdMixin, Base):
    """Request ids that were used; their scope is the brand."""

    __tablename__ = "request_ids"


class DatasetRow(Base):
    """One dataset."""

    __tablename__ = "datasets"

    brand: Mapped[str] = mapped_column(String(63), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(63), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(64))


class ImageRow(Base):
    """One picture. `perceptual_hash` is the 64 bits as a signed number; unreadable pictures have no
    fingerprint.
    """

    __tablename__ = "images"
    __table_args__ = (
        ForeignKeyConstraint(
            _DATASET_KEY, ["datasets.brand", "datasets.dataset"], ondelete="CASCADE", name="fk_images_dataset"
        ),
        UniqueConstraint(*_DATASET_KEY, "source_name", name="uq_images_source_name"),
        Index("ix_images_pixels", *_DATASET_KEY, "pixel_sha256"),
        Index("ix_images_duplicate_of", *_DATASET_KEY, "duplicate_of"),
    )

    image: Mapped[str] = mapped_column(String(32), primary_key=True)
    brand: Mapped[str] = mapped_column(String(63))
    dataset: Mapped[str] = mapped_column(String(63))
    source_name: Mapped[str] = mapped_column(String(255))
    source_sha256: Mapped[str] = mapped_column(String(64))
    source_format: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    pixel_sha256: Mapped[str | None] = mapped_column(String(64))
    perceptual_hash: Mapped[int | None] = mapped_column(BigInteger)
    thumbnail: Mapped[bytes | None] = mapped_column(LargeBinary)
    caption: Mapped[str] = mapped_column(Text)
    caption_source: Mapped[str] = mapped_column(String(16))
    tags: Mapped[list[Any]] = mapped_column(JsonColumn)
    flags: Mapped[list[Any]] = mapped_column(JsonColumn)
    is_flagged: Mapped[bool]
    duplicate_of: Mapped[str] = mapped_column(String(32))
    split: Mapped[str] = mapped_column(String(16))
    excluded: Mapped[bool]
    failure_reason: Mapped[str] = mapped_column(String(64))
    failure_message: Mapped[str] = mapped_column(Text)
    label_job: Mapped[str] = mapped_column(String(32))
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(64))


class HashBandRow(Base):
    """One band of one picture's perceptual hash (see likeness.bands)."""

    __tablename__ = "hash_bands"
    __table_args__ = (
        ForeignKeyConstraint(["image"], ["images.image"], ondelete="CASCADE", name="fk_hash_bands_image"),
        Index("ix_hash_bands_image", "image"),
    )

    brand: Mapped[str] = mapped_column(String(63), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(63), primary_key=True)
    band: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[int] = mapped_column(Integer, primary_key=True)
    image: Mapped[str] = mapped_column(String(32), primary_key=True)


class TextRow(Base):
    """One text. `messages` is the JSON of a conversation's turns, empty for a pair."""

    __tablename__ = "texts"
    __table_args__ = (
        ForeignKeyConstraint(
            _DATASET_KEY, ["datasets.brand", "datasets.dataset"], ondelete="CASCADE", name="fk_texts_dataset"
        ),
        UniqueConstraint(*_DATASET_KEY, "sha256", name="uq_texts_sha256"),
        UniqueConstraint(*_DATASET_KEY, "position", name="uq_texts_position"),
    )

    text: Mapped[str] = mapped_column(String(32), primary_key=True)
    brand: Mapped[str] = mapped_column(String(63))
    dataset: Mapped[str] = mapped_column(String(63))
    position: Mapped[int] = mapped_column(BigInteger)
    source_name: Mapped[str] = mapped_column(String(255))
    line_number: Mapped[int] = mapped_column(Integer)
    prompt: Mapped[str] = mapped_column(Text)
    response: Mapped[str] = mapped_column(Text)
    messages: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(Integer)
    split: Mapped[str] = mapped_column(String(16))
    excluded: Mapped[bool]
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(64))


class RevisionRow(Base):
    """One sealed revision. It refers to no dataset row, because it outlives that."""

    __tablename__ = "revisions"

    brand: Mapped[str] = mapped_column(String(63), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(63), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    image_count: Mapped[int] = mapped_column(Integer)
    text_count: Mapped[int] = mapped_column(Integer)
    trigger_words: Mapped[list[Any]] = mapped_column(JsonColumn)
    note: Mapped[str] = mapped_column(Text)
    creator: Mapped[str] = mapped_column(String(200))
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)


class LabelJobRow(Base):
    """One label job with its lease."""

    __tablename__ = "label_jobs"
    __table_args__ = (
        ForeignKeyConstraint(
            _DATASET_KEY,
            ["datasets.brand", "datasets.dataset"],
            ondelete="CASCADE",
            name="fk_label_jobs_dataset",
        ),
        Index("ix_label_jobs_dataset", *_DATASET_KEY, "create_time"),
        Index("ix_label_jobs_state", "state", "create_time"),
    )

    job: Mapped[str] = mapped_column(String(32), primary_key=True)
    brand: Mapped[str] = mapped_column(String(63))
    dataset: Mapped[str] = mapped_column(String(63))
    overwrite: Mapped[bool]
    trigger_word: Mapped[str] = mapped_column(String(100))
    batch_size: Mapped[int] = mapped_column(Integer)
    max_tokens: Mapped[int] = mapped_column(Integer)
    captioner: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    progress: Mapped[dict[str, Any]] = mapped_column(JsonColumn)
    error_reason: Mapped[str] = mapped_column(String(64))
    error_message: Mapped[str] = mapped_column(Text)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    start_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(Integer)
    fence: Mapped[int] = mapped_column(Integer)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_sequence: Mapped[int] = mapped_column(Integer)


class LabelEventRow(Base):
    """One event of a label job: its kind, and what belongs to it as JSON."""

    __tablename__ = "label_events"
    __table_args__ = (
        ForeignKeyConstraint(["job"], ["label_jobs.job"], ondelete="CASCADE", name="fk_label_events_job"),
    )

    job: Mapped[str] = mapped_column(String(32), primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(16))
    body: Mapped[dict[str, Any]] = mapped_column(JsonColumn)
