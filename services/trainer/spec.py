"""What to learn, from what, and how: the draft that a caller sends and the spec that a job keeps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Target(StrEnum):
    """Layers that get an adapter."""

    ATTENTION = "attention"
    FEED_FORWARD = "feed_forward"
    CONV_1X1 = "conv_1x1"


class Schedule(StrEnum):
    """How the learning rate goes over the steps."""

    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    LINEAR = "linear"
    COSINE = "cosine"


class Optimizer(StrEnum):
    """What steps the weights."""

    ADAMW = "adamw"
    ADAMW_8BIT = "adamw_8bit"
    PRODIGY = "prodigy"
    ADAFACTOR = "adafactor"


class Precision(StrEnum):
    """Arithmetic of the frozen base while training. AUTO is settled by the worker's device."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketSpec:
    """Picture sizes of about one area, sides in pixels; not `enabled`: one square. Zeros in a draft are what
    was left out.
    """

    enabled: bool = False
    min_size: int = 0
    max_size: int = 0
    step: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionSpec:
    """How rows show their captions' comma-separated tags; the first `keep_tokens` stay where they are."""

    shuffle_tags: bool = False
    keep_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorSpec:
    """Class pictures that join each step, if there are any. Zeros in a draft are what was left out."""

    dataset_revision: str = ""
    weight: float = 0.0
    batch_size: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecDraft:
    """A spec as it was sent: None is what the caller left out."""

    base_model: str
    dataset_revision: str
    lora: str
    parent_version: str | None = None
    trigger_words: tuple[str, ...] = ()
    resolution: int | None = None
    horizontal_flip: bool = False
    seed: int | None = None
    checkpoint_interval_steps: int | None = None
    precision: Precision = Precision.AUTO
    rank: int | None = None
    alpha: float | None = None
    dropout: float = 0.0
    targets: frozenset[Target] = frozenset()
    train_text_encoder: bool = False
    learning_rate: float | None = None
    text_encoder_learning_rate: float | None = None
    schedule: Schedule | None = None
    warmup_steps: int = 0
    batch_size: int | None = None
    epochs: int | None = None
    max_steps: int | None = None
    weight_decay: float | None = None
    max_gradient_norm: float | None = None
    optimizer: Optimizer | None = None
    ema_decay: float = 0.0
    min_snr_gamma: float | None = None
    noise_offset: float = 0.0
    caption_dropout: float = 0.0
    sample_prompts: tuple[str, ...] = ()
    sample_interval_steps: int = 0
    sample_steps: int | None = None
    sample_guidance_scale: float | None = None
    sample_seed: int = 0
    sample_max_new_tokens: int | None = None
    sample_temperature: float = 0.0
    validation_interval_steps: int | None = None
    patience: int = 0
    keep_best: bool = False
    validation_max_items: int | None = None
    aspect_ratio_buckets: BucketSpec = BucketSpec()
    caption: CaptionSpec = CaptionSpec()
    prior_preservation: PriorSpec = PriorSpec()
    gradient_checkpointing: bool = False

    @property
    def validates(self) -> bool:
        """Whether anything in it asks for evaluations."""
        return bool(self.validation_interval_steps or self.patience or self.keep_best)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterSpec:
    """The shape of the LoRA."""

    rank: int
    alpha: float
    dropout: float
    targets: frozenset[Target]
    train_text_encoder: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationSpec:
    """The optimizer and how long it runs. Exactly one of `epochs` and `max_steps` is set: the one that was
    asked for. An `ema_decay` of 0 is off.
    """

    learning_rate: float
    text_encoder_learning_rate: float
    schedule: Schedule
    warmup_steps: int
    batch_size: int
    epochs: int | None
    max_steps: int | None
    weight_decay: float
    max_gradient_norm: float
    optimizer: Optimizer = Optimizer.ADAMW
    ema_decay: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSpec:
    """What is minimised; a gamma or an offset of 0 is off."""

    min_snr_gamma: float
    noise_offset: float
    caption_dropout: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSpec:
    """Pictures or texts made while training runs. An interval of 0 makes them at the end only."""

    prompts: tuple[str, ...]
    interval_steps: int
    steps: int
    guidance_scale: float
    seed: int
    max_new_tokens: int = 64
    """Of a text."""
    temperature: float = 0.0
    """Of a text; 0: always the likeliest token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSpec:
    """Evaluations on the validation split: none with an interval of 0, no early end with a patience of 0."""

    interval_steps: int = 0
    patience: int = 0
    keep_best: bool = False
    max_items: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpec:
    """A complete spec: nothing in it is left to a default."""

    base_model: str
    dataset_revision: str
    lora: str
    parent_version: str | None
    trigger_words: tuple[str, ...]
    adapter: AdapterSpec
    optimization: OptimizationSpec
    loss: LossSpec
    samples: SampleSpec
    resolution: int
    horizontal_flip: bool
    seed: int
    checkpoint_interval_steps: int
    precision: Precision
    validation: ValidationSpec = ValidationSpec()
    aspect_ratio_buckets: BucketSpec = BucketSpec()
    caption: CaptionSpec = CaptionSpec()
    prior_preservation: PriorSpec = PriorSpec()
    gradient_checkpointing: bool = False

    def total_steps(self, *group_sizes: int) -> int:
        """Optimizer steps of the whole job over groups of so many items, whose batches are of one group."""
        if self.optimization.max_steps is not None:
            return self.optimization.max_steps
        return (self.optimization.epochs or 1) * steps_per_epoch(self.optimization.batch_size, *group_sizes)


def steps_per_epoch(batch_size: int, *group_sizes: int) -> int:
    """Steps that show every item of the groups once; the last batch of each may be smaller."""
    return max(1, sum(-(-size // batch_size) for size in group_sizes))
