"""What to learn, from what, and how. None and empty mean the service's default, which the answer shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self, TypedDict, Unpack

from brandloom import _names
from brandloom.types.labeler import Dataset, DatasetRevision
from brandloom.types.registry import BaseModel, Lora, LoraVersion
from brandloom.types.training_rows import BucketSpec, CaptionSpec, PriorSpec


class Precision(StrEnum):
    """Arithmetic of the training; UNSPECIFIED is bfloat16 where the device has it."""

    UNSPECIFIED = "UNSPECIFIED"
    FLOAT32 = "FLOAT32"
    BFLOAT16 = "BFLOAT16"


class AdapterTarget(StrEnum):
    """Layers that get an adapter."""

    UNSPECIFIED = "UNSPECIFIED"
    ATTENTION = "ATTENTION"
    FEED_FORWARD = "FEED_FORWARD"
    CONV_1X1 = "CONV_1X1"


class LearningRateSchedule(StrEnum):
    """How the learning rate moves; UNSPECIFIED is COSINE."""

    UNSPECIFIED = "UNSPECIFIED"
    CONSTANT = "CONSTANT"
    CONSTANT_WITH_WARMUP = "CONSTANT_WITH_WARMUP"
    LINEAR = "LINEAR"
    COSINE = "COSINE"


class OptimizerKind(StrEnum):
    """What steps the weights; UNSPECIFIED is ADAMW."""

    UNSPECIFIED = "UNSPECIFIED"
    ADAMW = "ADAMW"
    ADAMW_8BIT = "ADAMW_8BIT"
    PRODIGY = "PRODIGY"
    ADAFACTOR = "ADAFACTOR"


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterSpec:
    """Size and place of the adapter; alpha defaults to the rank."""

    rank: int | None = None
    alpha: float | None = None
    dropout: float | None = None
    targets: tuple[AdapterTarget, ...] = ()
    train_text_encoder: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationSpec:
    """The optimizer's settings and the length of the training: `epochs` or `max_steps`.

    With an `ema_decay` the result is a moving average of the weights.
    """

    learning_rate: float | None = None
    text_encoder_learning_rate: float | None = None
    schedule: LearningRateSchedule = LearningRateSchedule.UNSPECIFIED
    warmup_steps: int | None = None
    batch_size: int | None = None
    epochs: int | None = None
    max_steps: int | None = None
    weight_decay: float | None = None
    max_gradient_norm: float | None = None
    optimizer: OptimizerKind = OptimizerKind.UNSPECIFIED
    ema_decay: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSpec:
    """Weights and noise of the loss; `min_snr_gamma` 0 switches the weighting off."""

    min_snr_gamma: float | None = None
    noise_offset: float | None = None
    caption_dropout: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSpec:
    """Pictures or texts made while training runs, every `interval_steps` (None: at the end only)."""

    prompts: tuple[str, ...] = ()
    interval_steps: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSpec:
    """Evaluations on the revision's validation split, every `interval_steps` (None: as often as checkpoints,
    if anything else here asks for them). The job ends after `patience` of them in a row without a new best.
    """

    interval_steps: int | None = None
    patience: int | None = None
    keep_best: bool = False
    max_items: int | None = None


class TrainingOptions(TypedDict, total=False):
    """Settings of `TrainingSpec.build`, by the flat names that the command line and YAML files use too."""

    rank: int
    alpha: float
    dropout: float
    targets: tuple[AdapterTarget, ...]
    train_text_encoder: bool
    learning_rate: float
    text_encoder_learning_rate: float
    schedule: LearningRateSchedule
    warmup_steps: int
    batch_size: int
    epochs: int
    max_steps: int
    weight_decay: float
    max_gradient_norm: float
    optimizer: OptimizerKind
    ema_decay: float
    min_snr_gamma: float
    noise_offset: float
    caption_dropout: float
    sample_prompts: tuple[str, ...]
    sample_interval_steps: int
    sample_steps: int
    sample_guidance_scale: float
    sample_seed: int
    sample_max_new_tokens: int
    sample_temperature: float
    validation_interval_steps: int
    early_stopping_patience: int
    keep_best: bool
    validation_max_items: int
    aspect_ratio_buckets: bool
    bucket_min_size: int
    bucket_max_size: int
    bucket_step: int
    shuffle_tags: bool
    keep_tokens: int
    prior_dataset: str | Dataset | DatasetRevision
    prior_weight: float
    prior_batch_size: int
    gradient_checkpointing: bool
    parent_version: str | LoraVersion
    trigger_words: tuple[str, ...]
    resolution: int
    horizontal_flip: bool
    seed: int
    checkpoint_interval_steps: int
    precision: Precision


def _section_of_option() -> Mapping[str, tuple[str, str]]:
    sections: dict[str, tuple[str, str]] = {}
    for section, spec_type in _SECTIONS.items():
        for name in spec_type.__dataclass_fields__:
            prefixed = f"{_PREFIXES.get(section, '')}{name}"
            sections[_FLAT_NAMES.get((section, name), prefixed)] = (section, name)
    return MappingProxyType(sections)


_Section = (
    AdapterSpec
    | OptimizationSpec
    | LossSpec
    | SampleSpec
    | ValidationSpec
    | BucketSpec
    | CaptionSpec
    | PriorSpec
)
_PREFIXES: Final = {
    "samples": "sample_",
    "validation": "validation_",
    "aspect_ratio_buckets": "bucket_",
    "prior_preservation": "prior_",
}
_FLAT_NAMES: Final = {
    ("validation", "patience"): "early_stopping_patience",
    ("validation", "keep_best"): "keep_best",
    ("aspect_ratio_buckets", "enabled"): "aspect_ratio_buckets",
    ("prior_preservation", "dataset_revision"): "prior_dataset",
}
"""Of settings whose flat name is not their section's prefix and their own."""
_SECTIONS: Final[Mapping[str, type[_Section]]] = {
    "adapter": AdapterSpec,
    "optimization": OptimizationSpec,
    "loss": LossSpec,
    "samples": SampleSpec,
    "validation": ValidationSpec,
    "aspect_ratio_buckets": BucketSpec,
    "caption": CaptionSpec,
    "prior_preservation": PriorSpec,
}
_PLACES: Final = _section_of_option()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpec:
    """A training job's input, by full resource names. `build` makes one from short names."""

    base_model: str
    dataset_revision: str
    lora: str
    parent_version: str = ""
    trigger_words: tuple[str, ...] = ()
    adapter: AdapterSpec = field(default_factory=AdapterSpec)
    optimization: OptimizationSpec = field(default_factory=OptimizationSpec)
    loss: LossSpec = field(default_factory=LossSpec)
    samples: SampleSpec = field(default_factory=SampleSpec)
    resolution: int | None = None
    horizontal_flip: bool = False
    seed: int | None = None
    checkpoint_interval_steps: int | None = None
    precision: Precision = Precision.UNSPECIFIED
    validation: ValidationSpec = field(default_factory=ValidationSpec)
    aspect_ratio_buckets: BucketSpec = field(default_factory=BucketSpec)
    caption: CaptionSpec = field(default_factory=CaptionSpec)
    prior_preservation: PriorSpec = field(default_factory=PriorSpec)
    gradient_checkpointing: bool = False

    @classmethod
    def build(
        cls,
        lora: str | Lora,
        dataset: str | Dataset | DatasetRevision,
        *,
        base_model: str | BaseModel,
        **options: Unpack[TrainingOptions],
    ) -> Self:
        """A spec from short names (`acme/hero`, `sd-tiny`) and flat settings (`rank=8, max_steps=400`).

        A dataset, where no revision of it is named, means its latest one. Unknown settings raise TypeError,
        `epochs` beside `max_steps` ValueError.
        """
        unknown = sorted(set(options) - set(TrainingOptions.__annotations__))
        if unknown:
            raise TypeError(f"unknown training settings: {', '.join(unknown)}")
        if options.get("epochs") is not None and options.get("max_steps") is not None:
            raise ValueError("epochs and max_steps exclude each other")
        sections: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
        own: dict[str, Any] = {}
        for name, value in options.items():
            if name in _PLACES:
                section, key = _PLACES[name]
                sections[section][key] = value
            else:
                own[name] = value
        if "parent_version" in own:
            own["parent_version"] = _names.version(own["parent_version"])
        prior = sections["prior_preservation"]
        if "dataset_revision" in prior:
            prior["dataset_revision"] = _names.revision(prior["dataset_revision"])
        parts: dict[str, Any] = {name: _SECTIONS[name](**values) for name, values in sections.items()}
        return cls(
            base_model=_names.base_model(base_model),
            dataset_revision=_names.revision(dataset),
            lora=_names.lora(lora),
            **parts,
            **own,
        )
