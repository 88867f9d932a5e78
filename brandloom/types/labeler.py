"""Datasets of pictures and of texts, captions, sealed revisions, and the jobs that caption."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from brandloom.types.common import Artifact, Failure, JobState


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Pictures with captions, or texts, open to changes: `brands/{brand}/datasets/{dataset}`."""

    name: str
    display_name: str
    description: str
    image_count: int
    captioned_count: int
    flagged_count: int
    text_count: int
    latest_revision: int
    create_time: datetime
    update_time: datetime
    etag: str


class ImageFlag(StrEnum):
    """Something about a picture that a reviewer should look at."""

    UNSPECIFIED = "UNSPECIFIED"
    TOO_SMALL = "TOO_SMALL"
    EXACT_DUPLICATE = "EXACT_DUPLICATE"
    NEAR_DUPLICATE = "NEAR_DUPLICATE"
    UNREADABLE = "UNREADABLE"


class CaptionSource(StrEnum):
    """Who wrote a caption."""

    UNSPECIFIED = "UNSPECIFIED"
    CAPTIONER = "CAPTIONER"
    REVIEWER = "REVIEWER"
    IMPORTED = "IMPORTED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One picture of a dataset; width and height in pixels after EXIF orientation."""

    name: str
    source_name: str
    artifact: Artifact | None
    width: int
    height: int
    source_format: str
    caption: str
    caption_source: CaptionSource
    tags: tuple[str, ...]
    flags: tuple[ImageFlag, ...]
    duplicate_of: str
    split: str
    excluded: bool
    create_time: datetime
    update_time: datetime
    etag: str
    failure: Failure | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TextMessage:
    """One turn of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One text of a dataset: a prompt and its response, or messages; `sha256` is of what it says."""

    name: str
    prompt: str
    response: str
    messages: tuple[TextMessage, ...]
    split: str
    excluded: bool
    source_name: str
    line_number: int
    sha256: str
    create_time: datetime
    update_time: datetime
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TextUpload:
    """How many texts of a file were new, and how many the dataset had already."""

    added_count: int
    unchanged_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetRevision:
    """An immutable state of a dataset, named by the digest of its manifest."""

    name: str
    revision: int
    manifest: Artifact
    image_count: int
    text_count: int
    trigger_words: tuple[str, ...]
    note: str
    creator: str
    create_time: datetime


class UploadOutcome(StrEnum):
    """What became of an uploaded file."""

    UNSPECIFIED = "UNSPECIFIED"
    ADDED = "ADDED"
    DUPLICATE = "DUPLICATE"
    REJECTED = "REJECTED"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadResult:
    """The outcome for one picture; `image` is its resource name when it was kept."""

    source_name: str
    outcome: UploadOutcome
    image: str
    flags: tuple[ImageFlag, ...]
    failure: Failure | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadReport:
    """One result for each picture of an upload, those inside archives included."""

    results: tuple[UploadResult, ...]
    added_count: int
    rejected_count: int


class CaptionFormat(StrEnum):
    """Layout of captions in a file: `file_name,text` columns, JSON lines, or a .zip of .txt sidecars."""

    CSV = "CSV"
    JSONL = "JSONL"
    TXT_ZIP = "TXT_ZIP"


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionImport:
    """How many captions an import changed, and how many of its rows named no picture."""

    changed_count: int
    unknown_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionEdit:
    """How many captions an edit looked at, and how many it changed."""

    changed_count: int
    matched_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelProgress:
    """Pictures captioned so far; `time_left` is None until it can be told."""

    done: int
    total: int
    failed: int
    images_per_second: float
    time_left: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelJob:
    """Captions the pictures of a dataset: `brands/{brand}/datasets/{dataset}/labelJobs/{label_job}`."""

    name: str
    overwrite: bool
    trigger_word: str
    batch_size: int
    max_tokens: int
    state: JobState
    progress: LabelProgress | None
    error: Failure | None
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    etag: str
    captioner: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledImage:
    """One picture and its new caption, or why it has none."""

    image: str
    caption: str
    failure: Failure | None
