"""What the use cases need from the outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.trainer.domain import Job
from services.trainer.events import Event, JobArtifact, JobState, MetricPoint
from services.trainer.placement import Placement
from services.trainer.ports_packing import PackingReader, PackingRecords
from services.trainer.sources import BaseModel, DatasetRevision, LoraVersion
from services.trainer.text_manifest import Text


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """A job together with what is kept beside it."""

    job: Job
    artifacts: tuple[JobArtifact, ...]
    placement: Placement | None = None
    """Where it stands, until it has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobQuery:
    """A listing: filter and order in the words of AIP-160 and AIP-132."""

    filter: str
    order_by: str
    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page; the token is empty on the last."""

    records: tuple[JobRecord, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class PackFigures:
    """How fast the jobs of one worker train together, and what it has taken of its device's memory."""

    worker: str
    images_per_second: float
    device_memory_bytes: int


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """How many jobs wait and how many are leased, how fast these train together, and their mean loss; and the
    same speed for each worker that trains."""

    waiting: int
    leased: int
    images_per_second: float = 0.0
    mean_loss: float = 0.0
    packs: tuple[PackFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class JobHead:
    """The state of a job and the number of its newest event."""

    state: JobState
    last_sequence: int


class JobReader(Protocol):
    """One consistent view of the jobs."""

    @property
    def packing(self) -> PackingReader:
        """What the packer sees in it."""
        ...

    async def find(self, name: str) -> JobRecord | None:
        """The job of that name."""
        ...

    async def page(self, query: JobQuery, brands: frozenset[str] | None) -> JobPage:
        """A page of the brands' jobs (None: of all); InvalidArgument for a filter, order or token that makes
        no sense."""
        ...

    async def head(self, name: str) -> JobHead | None:
        """The job's state and newest event."""
        ...

    async def events(self, name: str, *, after: int, limit: int) -> list[Event]:
        """Events with a larger number, in order."""
        ...

    async def points(self, name: str, *, at_most: int) -> list[MetricPoint]:
        """Figures by step, evenly thinned to at most that many; the first and the last are kept."""
        ...

    async def artifact(self, name: str, file_name: str) -> JobArtifact | None:
        """The job's file of that name."""
        ...

    async def answered(self, brand: str, request_id: str, body_digest: str) -> str | None:
        """The name of what an earlier request with that id made; AlreadyExists when its body was another."""
        ...

    async def lease_holders(self, prefix: str) -> set[str]:
        """Workers that hold leases and whose name begins so."""
        ...

    async def figures(self) -> QueueFigures:
        """Sizes of the queue."""
        ...

    async def worn_checkpoints(self, ended_before: datetime, *, limit: int) -> list[str]:
        """Names of jobs with checkpoints that nothing will go on from: there is a newer one, or the job has
        succeeded, or it has ended in another way before that time."""
        ...

    async def discarded_files(self, *, limit: int) -> list[str]:
        """Digests of files that are to be deleted from the store."""
        ...


class JobTransaction(JobReader, Protocol):
    """A view that may change; all changes become visible together or not at all."""

    @property
    def packing(self) -> PackingRecords:
        """What the packer sees in it."""
        ...

    async def lock(self, name: str) -> Job | None:
        """The job of that name, to be changed: nobody else can change it until the end."""
        ...

    async def insert(self, job: Job) -> None:
        """Adds a new job with its events."""
        ...

    async def save(self, job: Job) -> None:
        """Stores a changed job and appends its new events."""
        ...

    async def put_points(self, name: str, points: Sequence[MetricPoint]) -> None:
        """Stores figures; those of a step that is there already are replaced."""
        ...

    async def lock_queued(self, names: Sequence[str]) -> list[Job]:
        """Those of the jobs that are still queued and that no one else is taking at this moment."""
        ...

    async def lock_expired(self, now: datetime) -> list[Job]:
        """Jobs whose lease has run out."""
        ...

    async def lock_held_by(self, worker: str) -> list[Job]:
        """Jobs that the worker holds leases on."""
        ...

    async def remember(self, brand: str, request_id: str, body_digest: str, name: str) -> str | None:
        """Remembers what the request made; when it is a repetition, the name of what the first one made.

        AlreadyExists with REQUEST_ID_REUSED when the id came with another body.
        """
        ...

    async def discard_checkpoints(self, name: str, *, keep: str) -> None:
        """Takes from the job all checkpoints but the one with that digest (empty: all); their files are to be
        deleted."""
        ...

    async def forget_discarded(self, sha256: str) -> None:
        """The file is deleted, or it is not to be."""
        ...

    async def is_referenced(self, sha256: str) -> bool:
        """Whether any job has a file of that digest."""
        ...


class Jobs(Protocol):
    """Where jobs are kept."""

    def transaction(self) -> AbstractAsyncContextManager[JobTransaction]:
        """A view that may change."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[JobReader]:
        """A view for reading."""
        ...


class Labeler(Protocol):
    """The labeler, as far as training needs it."""

    async def revision(self, name: str) -> DatasetRevision:
        """The sealed revision, `latest` made a number; NotFound, or Unavailable when it cannot be asked."""
        ...


class Registry(Protocol):
    """The registry, as far as the planning of jobs needs it."""

    async def require_brand(self, name: str) -> None:
        """NotFound unless there is such a brand."""
        ...

    async def base_model(self, name: str) -> BaseModel:
        """The base model; NotFound, or Unavailable when it cannot be asked."""
        ...

    async def lora_version(self, name: str) -> LoraVersion:
        """The version, an alias made a number; NotFound, or Unavailable when it cannot be asked."""
        ...


class Artifacts(Protocol):
    """The artifact store, as far as the use cases need it."""

    async def get_bytes(self, sha256: str, *, max_bytes: int) -> bytes:
        """The whole blob."""
        ...

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        """The blob in chunks of 1 MiB at most."""
        ...

    async def delete(self, sha256: str) -> None:
        """Removes the blob, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class TextFault:
    """Why a base cannot learn a text: "has 130 tokens, the base model reads 128 at most"."""

    number: int
    why: str


class TextsUncheckedError(Exception):
    """Nobody here can tell whether texts fit; the message says why. The worker will."""


class TextLengths(Protocol):
    """How long texts are to a base model."""

    async def faults(self, base: BaseModel, texts: Mapping[int, Text]) -> Sequence[TextFault]:
        """Those of the numbered texts that the base cannot learn, by number, up to a limit;
        TextsUncheckedError."""
        ...


class Bell(Protocol):
    """Wakes those who watch a job when something has happened to it in this process."""

    def ring(self, name: str) -> None:
        """Something has happened to the job."""
        ...

    async def wait(self, name: str, at_most: timedelta) -> None:
        """Returns when it rings for the job, or after that time: other processes ring no bell here."""
        ...


class Meters(Protocol):
    """Figures about the work of the trainer, for operators."""

    def trained(self, images: int) -> None:
        """That many pictures went through training steps."""
        ...

    def leases_lost(self, count: int) -> None:
        """That many leases ran out or were taken from a dead worker."""
        ...

    def retried(self, count: int) -> None:
        """That many jobs went back to the queue after a failure."""
        ...

    def ended(self, state: str) -> None:
        """A job ended in that state."""
        ...

    def queue(self, figures: QueueFigures) -> None:
        """The queue looks like this now."""
        ...
