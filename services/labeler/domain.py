"""What the labeler is about: datasets, pictures, captions, label jobs and revisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Generic, TypeVar

from services.labeler.keys import DatasetKey, ImageKey, JobKey, RevisionKey

DEFAULT_MIN_SIDE: Final = 512
MAX_CAPTION_CHARACTERS: Final = 4000
DEFAULT_BATCH_SIZE: Final = 8
DEFAULT_MAX_TOKENS: Final = 48
MAX_ATTEMPTS: Final = 3

T = TypeVar("T")


class ImageFlag(StrEnum):
    """Something about a picture that a reviewer should look at."""

    TOO_SMALL = "too_small"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    UNREADABLE = "unreadable"


class CaptionSource(StrEnum):
    """Who wrote a caption; NONE while there is none."""

    NONE = "none"
    CAPTIONER = "captioner"
    REVIEWER = "reviewer"
    IMPORTED = "imported"


class Split(StrEnum):
    """What a picture or text is for."""

    TRAIN = "train"
    VALIDATION = "validation"


class JobState(StrEnum):
    """States of a label job; `is_final` ones never change again."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CANCELLING = "cancelling"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class UploadOutcome(StrEnum):
    """What became of one uploaded file."""

    ADDED = "added"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file or a job failed: a word for programs (UPPER_SNAKE) and a sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DatasetCounts:
    """How many pictures there are, have a caption, carry a flag; and how many texts there are."""

    images: int = 0
    captioned: int = 0
    flagged: int = 0
    texts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A set of pictures or texts that people and captioners work on until a revision is sealed."""

    key: DatasetKey
    display_name: str
    description: str
    create_time: datetime
    update_time: datetime
    etag: str
    counts: DatasetCounts = DatasetCounts()
    latest_revision: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What decides whether two pictures are the same or nearly so.

    `pixel_sha256` is over size and RGB bytes; `perceptual_hash` has 64 bits; `thumbnail` is 8x8 RGB (192
    bytes).
    """

    pixel_sha256: str
    perceptual_hash: int
    thumbnail: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalisedPicture:
    """An uploaded file made upright RGB: its PNG bytes, size in pixels, the format it came in, its
    fingerprint.
    """

    png: bytes
    width: int
    height: int
    source_format: str
    fingerprint: Fingerprint


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One picture of a dataset. Unreadable ones have `failure`, and neither bytes (`sha256` is empty) nor
    size.
    """

    key: ImageKey
    source_name: str
    source_sha256: str
    source_format: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    fingerprint: Fingerprint | None
    caption: str
    caption_source: CaptionSource
    tags: tuple[str, ...]
    flags: tuple[ImageFlag, ...]
    duplicate_of: str
    split: Split
    excluded: bool
    create_time: datetime
    update_time: datetime
    etag: str
    failure: Failure | None = None
    label_job: str = ""
    """Id of the last label job that dealt with this picture, so that a job taken up again does not repeat
    itself.
    """

    @property
    def is_readable(self) -> bool:
        """Whether there is a picture behind the record."""
        return self.failure is None


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadResult:
    """What became of one file: the picture's record where there is one, the failure where it was rejected."""

    source_name: str
    outcome: UploadOutcome
    image: Image | None = None
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """An immutable state of a dataset; `sha256` and `size_bytes` are those of its manifest."""

    key: RevisionKey
    sha256: str
    size_bytes: int
    image_count: int
    trigger_words: tuple[str, ...]
    note: str
    creator: str
    create_time: datetime
    text_count: int = 0


@dataclass(frozen=True, slots=True)
class LabelProgress:
    """Pictures captioned, to caption in all, given up; speed, and seconds left where they can be told."""

    done: int = 0
    total: int = 0
    failed: int = 0
    images_per_second: float = 0.0
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """One picture's caption, or why it has none; `image` is the resource name."""

    image: str
    caption: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """Something that happened to a job; sequences count from 1 in each job."""

    sequence: int
    time: datetime
    event: JobState | LabelProgress | LabeledImage | Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelJob:
    """Captions the pictures of a dataset. `fence` grows each time a runner takes the job up."""

    key: JobKey
    overwrite: bool
    trigger_word: str
    batch_size: int
    max_tokens: int
    captioner: str
    state: JobState
    create_time: datetime
    etag: str
    progress: LabelProgress = LabelProgress()
    error: Failure | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    attempts: int = 0
    fence: int = 0
    lease_until: datetime | None = None
    last_sequence: int = 0


@dataclass(frozen=True, slots=True)
class RequestId:
    """A client-chosen id for a create call, with the digest of the call's body; an empty id means none was
    sent.
    """

    value: str
    body_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListQuery:
    """What a page of a listing holds: AIP-160 filter, AIP-132 order, page size and token."""

    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a listing and the token of the next one, empty on the last."""

    items: tuple[T, ...]
    next_page_token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageChanges:
    """Fields of a picture that a reviewer sets; None leaves one as it is."""

    tags: tuple[str, ...] | None = None
    split: Split | None = None
    excluded: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionChange:
    """A new caption for one picture."""

    image: str
    caption: str
    source: CaptionSource
