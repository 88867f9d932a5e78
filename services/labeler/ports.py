"""What the use cases need from outside: records with transactions, decoders, archives, the captioner,
figures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import BinaryIO, Protocol

from services.labeler.domain import (
    CaptionChange,
    Dataset,
    Failure,
    Fingerprint,
    Image,
    LabelEvent,
    LabelJob,
    ListQuery,
    NormalisedPicture,
    Page,
    RequestId,
    Revision,
    UploadOutcome,
)
from services.labeler.domain_texts import Text, TextTotals
from services.labeler.keys import DatasetKey, ImageKey, JobKey, RevisionKey, TextKey
from services.labeler.rows import ArchivedFile, CaptionFormat, CaptionRow, ExportRow


class DatasetRecords(Protocol):
    """Datasets; what is read carries its counts and the number of its latest revision."""

    async def get(self, key: DatasetKey, *, lock: bool = False) -> Dataset:
        """NotFound when there is none. With `lock`, others who lock it wait for this transaction's end."""
        ...

    async def page(self, brand: str, query: ListQuery) -> Page[Dataset]: ...

    async def add(self, dataset: Dataset) -> None:
        """AlreadyExists when the id is taken."""
        ...

    async def replace(self, dataset: Dataset) -> None: ...

    async def delete(self, key: DatasetKey) -> None:
        """Removes the dataset with its pictures, texts and label jobs; sealed revisions stay."""
        ...


class ImageRecords(Protocol):
    """Pictures of datasets."""

    async def get(self, key: ImageKey, *, lock: bool = False) -> Image:
        """NotFound when there is none."""
        ...

    async def find(self, key: ImageKey, *, lock: bool = False) -> Image | None: ...

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Image]: ...

    async def count(self, parent: DatasetKey) -> int: ...

    async def matching(self, parent: DatasetKey, condition: str) -> list[Image]:
        """All pictures that an AIP-160 filter lets through, ordered by source name."""
        ...

    async def included(self, parent: DatasetKey) -> list[Image]:
        """All readable pictures that are not excluded, ordered by source name."""
        ...

    async def by_source_name(self, parent: DatasetKey, source_name: str) -> Image | None: ...

    async def by_pixels(self, parent: DatasetKey, pixel_sha256: str) -> Image | None:
        """The first that came with these pixels."""
        ...

    async def sharing_a_band(self, parent: DatasetKey, fingerprint: Fingerprint) -> list[Image]:
        """Candidates for near duplicates (see likeness.bands), oldest first."""
        ...

    async def duplicates_of(self, key: ImageKey) -> list[Image]:
        """Pictures whose `duplicate_of` is this one, oldest first."""
        ...

    async def add(self, image: Image) -> None: ...

    async def replace(self, image: Image) -> None: ...

    async def delete(self, key: ImageKey) -> None: ...

    async def set_captions(self, parent: DatasetKey, changes: Sequence[CaptionChange], now: datetime) -> None:
        """Sets captions and their sources, with new etags."""
        ...

    async def to_label(self, job: LabelJob, limit: int) -> list[Image]:
        """Pictures that the job still has to caption, oldest first."""
        ...

    async def count_to_label(self, job: LabelJob) -> int: ...


class TextRecords(Protocol):
    """Texts of datasets."""

    async def get(self, key: TextKey, *, lock: bool = False) -> Text:
        """NotFound when there is none."""
        ...

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Text]: ...

    async def totals(self, parent: DatasetKey) -> TextTotals: ...

    async def included(self, parent: DatasetKey) -> list[Text]:
        """All that are not excluded, in the order of their upload."""
        ...

    async def known(self, parent: DatasetKey, digests: Collection[str]) -> set[str]:
        """Those of the digests that are of texts of the dataset."""
        ...

    async def add(self, texts: Sequence[Text]) -> None: ...

    async def replace(self, text: Text) -> None: ...

    async def delete(self, key: TextKey) -> None: ...


class RevisionRecords(Protocol):
    """Sealed revisions; they outlive their dataset."""

    async def get(self, key: RevisionKey) -> Revision:
        """NotFound when there is none. Number 0 is the latest."""
        ...

    async def latest(self, parent: DatasetKey) -> Revision | None: ...

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Revision]: ...

    async def add(self, revision: Revision) -> None: ...


class JobRecords(Protocol):
    """Label jobs and their events."""

    async def get(self, key: JobKey, *, lock: bool = False) -> LabelJob:
        """NotFound when there is none."""
        ...

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[LabelJob]: ...

    async def add(self, job: LabelJob) -> None: ...

    async def replace(self, job: LabelJob) -> None: ...

    async def claimable(self, now: datetime) -> LabelJob | None:
        """The oldest job that is queued, or whose runner's lease has run out; locked for this transaction."""
        ...

    async def waiting(self) -> int:
        """Jobs that are queued."""
        ...

    async def add_events(self, key: JobKey, events: Sequence[LabelEvent]) -> None: ...

    async def events_after(self, key: JobKey, sequence: int, limit: int) -> list[LabelEvent]: ...


class Unit(Protocol):
    """The records as one transaction, or one snapshot, sees them."""

    @property
    def datasets(self) -> DatasetRecords: ...

    @property
    def images(self) -> ImageRecords: ...

    @property
    def texts(self) -> TextRecords: ...

    @property
    def revisions(self) -> RevisionRecords: ...

    @property
    def jobs(self) -> JobRecords: ...

    async def remember(self, scope: str, request: RequestId, response_name: str, now: datetime) -> str | None:
        """None for a new request; the name that answered it the first time for a repeated one.

        AlreadyExists (REQUEST_ID_REUSED) when the id came with another body.
        """
        ...


class Records(Protocol):
    """Where records live."""

    def transaction(self) -> AbstractAsyncContextManager[Unit]:
        """All or nothing: commits at the end, rolls back on an exception."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Unit]:
        """One consistent view that cannot write."""
        ...


class PictureReader(Protocol):
    """Decodes and normalises pictures."""

    @property
    def capacity(self) -> int:
        """How many pictures are decoded at the same time."""
        ...

    async def read(self, data: bytes) -> NormalisedPicture | Failure:
        """The picture, or why these bytes are none; never raises for what is in them."""
        ...


class ArchiveReader(Protocol):
    """Opens archives."""

    def is_archive(self, first_bytes: bytes) -> bool: ...

    def files(self, file: BinaryIO) -> AsyncIterator[ArchivedFile | Failure]:
        """The files of the archive; a single Failure when it is refused as a whole."""
        ...


class CaptionFiles(Protocol):
    """Reads and writes caption files."""

    async def parse(self, data: bytes, form: CaptionFormat) -> list[CaptionRow]:
        """InvalidArgument that names every faulty line and column."""
        ...

    def write(self, rows: Sequence[ExportRow], form: CaptionFormat) -> AsyncIterator[bytes]:
        """The captions alone."""
        ...

    def write_with_pictures(self, rows: Sequence[ExportRow], form: CaptionFormat) -> AsyncIterator[bytes]:
        """A .zip of the pictures with their captions."""
        ...


class CaptionerError(Exception):
    """The captioner cannot be used, or died over its work; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Captioner(Protocol):
    """Writes captions for pictures."""

    @property
    def name(self) -> str:
        """Directory or hub id of its model."""
        ...

    async def prepare(self) -> None:
        """Loads the model unless it is loaded; CaptionerError when it cannot be."""
        ...

    async def caption(self, pngs: Sequence[bytes], *, max_tokens: int) -> list[str]:
        """One caption for each picture; CaptionerError when it fails over them."""
        ...


class Meter(Protocol):
    """Figures about the service's work."""

    def uploaded(self, outcome: UploadOutcome) -> None: ...

    def captioned(self, pictures: int, seconds: float) -> None: ...

    def caption_failed(self, pictures: int) -> None: ...

    def jobs_waiting(self, count: int) -> None: ...

    def job_ended(self, state: str) -> None: ...
