"""Brands, base models, LoRAs, their versions and where these come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from brandloom.types.common import Advice, Artifact, ModelFamily


@dataclass(frozen=True, kw_only=True, slots=True)
class Brand:
    """The root of tenancy: `brands/{brand}`."""

    name: str
    display_name: str
    description: str
    labels: Mapping[str, str]
    create_time: datetime
    update_time: datetime
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel:
    """A frozen model that LoRAs are trained on and served with: `baseModels/{base_model}`."""

    name: str
    display_name: str
    family: ModelFamily
    source: str
    sha256: str
    resolution: int
    license: str
    description: str
    create_time: datetime
    update_time: datetime
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    """A named line of versions of one adapter: `brands/{brand}/loras/{lora}`."""

    name: str
    display_name: str
    description: str
    tags: tuple[str, ...]
    family: ModelFamily
    latest_version: int
    aliases: Mapping[str, int]
    trigger_words: tuple[str, ...]
    create_time: datetime
    update_time: datetime
    etag: str


class LoraFormat(StrEnum):
    """How the weights of a LoRA are laid out in its file."""

    UNSPECIFIED = "UNSPECIFIED"
    KOHYA = "KOHYA"
    DIFFUSERS = "DIFFUSERS"
    PEFT = "PEFT"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleRank:
    """Rank and alpha of one adapted module."""

    module: str
    rank: int
    alpha: float


class VersionFile(StrEnum):
    """What can be downloaded of a version."""

    UNSPECIFIED = "UNSPECIFIED"
    WEIGHTS = "WEIGHTS"
    PREVIEW_SHEET = "PREVIEW_SHEET"
    LOSS_PLOT = "LOSS_PLOT"
    PREVIEW = "PREVIEW"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraOrigin:
    """Where a version comes from; empty, None or 0 where that does not apply.

    What comes after `parent_version` is filled by `versions.get` only. Times and speed are of the attempt
    that finished the training.
    """

    training_job: str = ""
    dataset_revision: str = ""
    dataset_sha256: str = ""
    parent_version: str = ""
    training_spec_json: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    advice: tuple[Advice, ...] = ()
    preview_sheet: Artifact | None = None
    loss_plot: Artifact | None = None
    parent_sha256: str = ""
    prior_dataset_sha256: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    training_seconds: float = 0.0
    images_per_second: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraVersion:
    """One immutable file of weights: `brands/{brand}/loras/{lora}/versions/{version}`.

    `modules`, `file_metadata` and most of `origin` are filled by `versions.get` only.
    """

    name: str
    version: int
    artifact: Artifact
    format: LoraFormat
    family: ModelFamily
    base_model: str
    base_model_sha256: str
    rank: int
    modules: tuple[ModuleRank, ...]
    trigger_words: tuple[str, ...]
    origin: LoraOrigin
    tags: tuple[str, ...]
    description: str
    license: str
    evaluation: Mapping[str, float]
    previews: tuple[Artifact, ...]
    file_metadata: Mapping[str, str]
    aliases: tuple[str, ...]
    creator: str
    create_time: datetime
    etag: str
    components: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadUrl:
    """An address from which the file can be fetched without credentials until `expire_time`."""

    url: str
    expire_time: datetime
    artifact: Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedLora:
    """What a reference such as `hero@prod` means now."""

    reference: str
    version: str
    artifact: Artifact
    format: LoraFormat
    family: ModelFamily
    rank: int
    components: tuple[str, ...]
    trigger_words: tuple[str, ...]
    base_model_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedStack:
    """The LoRAs in the order of their references, and the base that they were checked against, if any."""

    loras: tuple[ResolvedLora, ...]
    base_model: BaseModel | None


class LineageKind(StrEnum):
    """What a node of a lineage is."""

    UNSPECIFIED = "UNSPECIFIED"
    LORA_VERSION = "LORA_VERSION"
    DATASET_REVISION = "DATASET_REVISION"
    TRAINING_JOB = "TRAINING_JOB"
    BASE_MODEL = "BASE_MODEL"


@dataclass(frozen=True, kw_only=True, slots=True)
class LineageNode:
    """One resource in a lineage."""

    name: str
    kind: LineageKind
    sha256: str
    create_time: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LineageEdge:
    """`source` was needed to make `target`; `relation` is `parent`, `trained_on`, `made_by` or `base`."""

    source: str = field(metadata={"proto": "from"})
    target: str = field(metadata={"proto": "to"})
    relation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What a version comes from and what comes from it; `truncated` when the walk stopped at its depth."""

    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]
    truncated: bool


class ChangeKind(StrEnum):
    """What happened to a LoRA, a brand or a base model."""

    UNSPECIFIED = "UNSPECIFIED"
    VERSION_ADDED = "VERSION_ADDED"
    ALIAS_SET = "ALIAS_SET"
    ALIAS_DELETED = "ALIAS_DELETED"
    LORA_CREATED = "LORA_CREATED"
    LORA_UPDATED = "LORA_UPDATED"
    LORA_DELETED = "LORA_DELETED"
    BRAND_DELETED = "BRAND_DELETED"
    BASE_MODEL_UPDATED = "BASE_MODEL_UPDATED"
    BASE_MODEL_DELETED = "BASE_MODEL_DELETED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change in the registry; `sequence` counts over all of them.

    `lora` is empty where a brand or a base model has changed, which `resource` names.
    """

    sequence: int
    time: datetime
    kind: ChangeKind
    lora: str
    version: int
    alias: str
    resource: str = ""
