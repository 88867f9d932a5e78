"""What the registry knows: brands, base models, LoRAs, their versions, and the rules between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Generic, TypeVar

from services.registry.domain_files import StoredFile

LATEST: Final = "latest"
"""Stands for the newest version wherever an alias may stand; no alias may have this name."""
PRODUCTION: Final = "prod"
"""The alias that a bare reference means, where the LoRA has it."""

Item = TypeVar("Item")


class ModelFamily(StrEnum):
    """Architecture families of base models; a LoRA fits bases of its own family only."""

    SD15 = "sd15"
    SDXL = "sdxl"
    CAUSAL_LM = "causal_lm"


class LoraFormat(StrEnum):
    """How a file lays its weights out."""

    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    PEFT = "peft"


class ChangeKind(StrEnum):
    """What a change was."""

    VERSION_ADDED = "version_added"
    ALIAS_SET = "alias_set"
    ALIAS_DELETED = "alias_deleted"
    LORA_CREATED = "lora_created"
    LORA_UPDATED = "lora_updated"
    LORA_DELETED = "lora_deleted"
    BRAND_DELETED = "brand_deleted"
    BASE_MODEL_UPDATED = "base_model_updated"
    BASE_MODEL_DELETED = "base_model_deleted"


@dataclass(frozen=True, slots=True)
class LoraKey:
    """Brand and id of a LoRA; str() is its resource name."""

    brand: str
    lora: str

    def __str__(self) -> str:
        return f"brands/{self.brand}/loras/{self.lora}"


@dataclass(frozen=True, slots=True)
class VersionKey:
    """A LoRA and what stands in the version's place: a number, an alias or `latest`."""

    lora: LoraKey
    which: str

    @property
    def number(self) -> int | None:
        """The number, None for an alias or `latest`."""
        return int(self.which) if self.which.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.lora}/versions/{self.which}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Brand:
    """The root of tenancy."""

    brand_id: str
    display_name: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    create_time: datetime
    update_time: datetime
    etag: str

    @property
    def name(self) -> str:
        """`brands/{brand}`."""
        return brand_name(self.brand_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel:
    """A frozen model; family and digest never change. `resolution` is in pixels, 0 for text."""

    base_model_id: str
    display_name: str = ""
    family: ModelFamily
    source: str
    sha256: str
    resolution: int = 0
    license: str = ""
    description: str = ""
    create_time: datetime
    update_time: datetime
    etag: str

    @property
    def name(self) -> str:
        """`baseModels/{base_model}`."""
        return base_model_name(self.base_model_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    """A named line of versions; `family` is None and `latest_version` 0 until the first one."""

    key: LoraKey
    display_name: str = ""
    description: str = ""
    tags: Sequence[str] = ()
    family: ModelFamily | None = None
    latest_version: int = 0
    aliases: Mapping[str, int] = field(default_factory=dict)
    trigger_words: Sequence[str] = ()
    create_time: datetime
    update_time: datetime
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleRank:
    """Rank and alpha of one adapted module."""

    module: str
    rank: int
    alpha: float


@dataclass(frozen=True, slots=True)
class TrainingAdvice:
    """What the owner of a training job was told about its spec."""

    code: str
    field: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraOrigin:
    """Where a version comes from, as the one who registered it said; empty where unknown.

    What comes after the parent is left out of listings.
    """

    training_job: str = ""
    dataset_revision: str = ""
    dataset_sha256: str = ""
    parent_version: VersionKey | None = None
    training_spec_json: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    advice: Sequence[TrainingAdvice] = ()
    preview_sheet: StoredFile | None = None
    loss_plot: StoredFile | None = None
    parent_sha256: str = ""
    prior_dataset_sha256: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    training_seconds: float = 0.0
    images_per_second: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """What the header of a LoRA file tells."""

    format: LoraFormat
    family: ModelFamily
    rank: int
    modules: Sequence[ModuleRank]
    components: Sequence[str]
    metadata: Mapping[str, str]
    trigger_words: Sequence[str] = ()
    license: str = ""
    description: str = ""
    base_model_sha256: str = ""
    """What the metadata claims: believed only where a registered base has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionDraft:
    """What a caller says about a version that is to be registered."""

    base_model_id: str = ""
    base_model_sha256: str = ""
    trigger_words: Sequence[str] = ()
    origin: LoraOrigin = field(default_factory=LoraOrigin)
    tags: Sequence[str] = ()
    description: str = ""
    license: str = ""
    evaluation: Mapping[str, float] = field(default_factory=dict)
    previews: Sequence[StoredFile] = ()

    @property
    def pictures(self) -> dict[str, StoredFile]:
        """All files that show something of it, by the fields that name them."""
        of_origin = {
            "origin.preview_sheet": self.origin.preview_sheet,
            "origin.loss_plot": self.origin.loss_plot,
        }
        named = {f"previews[{index}]": preview for index, preview in enumerate(self.previews)}
        return named | {name: file for name, file in of_origin.items() if file is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraVersion:
    """One immutable file of weights; listings leave out `modules`, `file_metadata` and most of `origin`."""

    key: LoraKey
    version: int
    file: StoredFile
    format: LoraFormat
    family: ModelFamily
    base_model_id: str
    base_model_sha256: str
    rank: int
    components: Sequence[str]
    trigger_words: Sequence[str]
    origin: LoraOrigin
    tags: Sequence[str]
    description: str
    license: str
    evaluation: Mapping[str, float]
    previews: Sequence[StoredFile]
    creator: str
    create_time: datetime
    etag: str
    aliases: Sequence[str] = ()
    modules: Sequence[ModuleRank] = ()
    file_metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`brands/{brand}/loras/{lora}/versions/{version}`."""
        return f"{self.key}/versions/{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One entry of the numbered log; `sequence` grows in the order in which changes become visible."""

    sequence: int
    time: datetime
    kind: ChangeKind
    lora: LoraKey | None = None
    version: int = 0
    alias: str = ""
    resource: str = ""
    """Name of the brand or base model where no LoRA has changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListQuery:
    """How a listing was asked for: AIP-160 filter, AIP-132 order, AIP-158 page."""

    filter: str = ""
    order_by: str = ""
    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing; an empty token says that it was the last."""

    items: Sequence[Item]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class RequestId:
    """A caller's request id (empty: none) with the digest of the body that came with it."""

    value: str
    digest: str


def brand_name(brand_id: str) -> str:
    """`brands/{brand}`."""
    return f"brands/{brand_id}"


def base_model_name(base_model_id: str) -> str:
    """`baseModels/{base_model}`."""
    return f"baseModels/{base_model_id}"
