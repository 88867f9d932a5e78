"""The registry's tables.

No column is NULL: an empty text is "not known", so that every column can be ordered by and compared.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicekit.column_types import JsonColumn, UtcDateTime
from servicekit.request_ids import RequestIdMixin

# SQLite numbers rows by itself only in a column of exactly this type.
_RowId = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """What the migrations compare the database with."""


class RequestIdRow(RequestIdMixin, Base):
    """Answered requests; `response_name` is filled in by the transaction that claimed the id."""

    __tablename__ = "request_ids"


class BrandRow(Base):
    """A brand."""

    __tablename__ = "brands"

    brand_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    display_name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    labels: Mapped[dict[str, str]] = mapped_column(JsonColumn)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(32))


class BaseModelRow(Base):
    """A base model."""

    __tablename__ = "base_models"

    base_model_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    display_name: Mapped[str] = mapped_column(String(200))
    family: Mapped[str] = mapped_column(String(32))
    source: Mapped[str] = mapped_column(String(1024))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    resolution: Mapped[int] = mapped_column(Integer)
    license: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(32))


class LoraRow(Base):
    """A LoRA. `last_number` counts on over deletions, `latest_version` is 0 until there is a version."""

    __tablename__ = "loras"
    __table_args__ = (
        Index("ix_loras_brand_create_time", "brand_id", "create_time", "name"),
        Index("ix_loras_brand_update_time", "brand_id", "update_time", "name"),
        Index("ix_loras_brand_name", "brand_id", "name"),
    )

    id: Mapped[int] = mapped_column(_RowId, primary_key=True, autoincrement=True)
    brand_id: Mapped[str] = mapped_column(ForeignKey("brands.brand_id"))
    lora_id: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(150), unique=True)
    display_name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(JsonColumn)
    family: Mapped[str] = mapped_column(String(32))
    latest_version: Mapped[int] = mapped_column(BigInteger)
    last_number: Mapped[int] = mapped_column(BigInteger)
    trigger_words: Mapped[list[str]] = mapped_column(JsonColumn)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(32))


class RetiredLoraRow(Base):
    """The last number of a deleted LoRA: a version's name never comes to mean another file."""

    __tablename__ = "retired_loras"

    name: Mapped[str] = mapped_column(String(150), primary_key=True)
    last_number: Mapped[int] = mapped_column(BigInteger)


class LoraTagRow(Base):
    """The tags of LoRAs once more, for filters."""

    __tablename__ = "lora_tags"

    tag: Mapped[str] = mapped_column(String(63), primary_key=True)
    lora: Mapped[int] = mapped_column(
        ForeignKey("loras.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class LoraWordRow(Base):
    """The words that a LoRA is found by."""

    __tablename__ = "lora_words"

    # "C": prefixes are ranges of the index only where letters sort by their code.
    word: Mapped[str] = mapped_column(
        String(64, collation="C").with_variant(String(64), "sqlite"), primary_key=True
    )
    lora: Mapped[int] = mapped_column(
        ForeignKey("loras.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class AliasRow(Base):
    """A movable name for a version."""

    __tablename__ = "lora_aliases"

    lora: Mapped[int] = mapped_column(ForeignKey("loras.id", ondelete="CASCADE"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)


class VersionRow(Base):
    """A version, as listings show it."""

    __tablename__ = "lora_versions"
    __table_args__ = (
        UniqueConstraint("lora", "version", name="uq_lora_versions_lora_version"),
        Index("ix_lora_versions_create_time", "lora", "create_time", "version"),
        Index("ix_lora_versions_base_model", "base_model", "lora"),
        Index("ix_lora_versions_sha256", "sha256"),
        Index("ix_lora_versions_training_job", "training_job"),
        Index("ix_lora_versions_dataset_revision", "dataset_revision"),
        Index("ix_lora_versions_parent_version", "parent_version"),
    )

    id: Mapped[int] = mapped_column(_RowId, primary_key=True, autoincrement=True)
    lora: Mapped[int] = mapped_column(ForeignKey("loras.id", ondelete="CASCADE"))
    version: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(127))
    format: Mapped[str] = mapped_column(String(32))
    family: Mapped[str] = mapped_column(String(32))
    base_model: Mapped[str] = mapped_column(String(80))
    base_model_sha256: Mapped[str] = mapped_column(String(64))
    rank: Mapped[int] = mapped_column(Integer)
    components: Mapped[list[str]] = mapped_column(JsonColumn)
    trigger_words: Mapped[list[str]] = mapped_column(JsonColumn)
    training_job: Mapped[str] = mapped_column(String(256))
    dataset_revision: Mapped[str] = mapped_column(String(256))
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    parent_version: Mapped[str] = mapped_column(String(256))
    tags: Mapped[list[str]] = mapped_column(JsonColumn)
    description: Mapped[str] = mapped_column(Text)
    license: Mapped[str] = mapped_column(String(200))
    evaluation: Mapped[dict[str, float]] = mapped_column(JsonColumn)
    previews: Mapped[list[list[Any]]] = mapped_column(JsonColumn)
    creator: Mapped[str] = mapped_column(String(200))
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    etag: Mapped[str] = mapped_column(String(32))


class VersionDetailsRow(Base):
    """The heavy parts of a version, read for one version at a time."""

    __tablename__ = "lora_version_details"

    version: Mapped[int] = mapped_column(ForeignKey("lora_versions.id", ondelete="CASCADE"), primary_key=True)
    modules: Mapped[list[list[Any]]] = mapped_column(JsonColumn)
    file_metadata: Mapped[dict[str, str]] = mapped_column(JsonColumn)
    training_spec_json: Mapped[str] = mapped_column(Text)
    origin_details: Mapped[dict[str, Any]] = mapped_column(JsonColumn)


class VersionTagRow(Base):
    """The tags of versions once more, for filters within a LoRA."""

    __tablename__ = "lora_version_tags"

    lora: Mapped[int] = mapped_column(ForeignKey("loras.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True)


class ChangeCounterRow(Base):
    """One row: the last change's number. Whoever appends locks it, so numbers are in commit order."""

    __tablename__ = "change_counter"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class ChangeRow(Base):
    """An entry of the log."""

    __tablename__ = "changes"
    __table_args__ = (Index("ix_changes_brand_sequence", "brand_id", "sequence"),)

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(32))
    brand_id: Mapped[str] = mapped_column(String(63))
    lora_id: Mapped[str] = mapped_column(String(63))
    version: Mapped[int] = mapped_column(BigInteger)
    alias: Mapped[str] = mapped_column(String(63))
