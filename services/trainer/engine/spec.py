"""What the engine is asked to do: plain values, already checked by whoever asks. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from services.trainer.engine.fault import EngineFault

if TYPE_CHECKING:
    from torch import Tensor

Target = Literal["attention", "feed_forward", "conv_1x1"]
Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine"]
Precision = Literal["float32", "bfloat16"]
Optimizer = Literal["adamw", "adamw_8bit", "prodigy", "adafactor"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """One job's own settings; jobs of one pack may differ in all of them."""

    rank: int
    alpha: float
    dropout: float
    """Chance that an element behind the down projection is dropped."""
    targets: frozenset[str]
    """Of `Target`."""
    train_text_encoder: bool
    learning_rate: float
    text_encoder_learning_rate: float
    schedule: str
    """Of `Schedule`."""
    warmup_steps: int
    batch_size: int
    total_steps: int
    weight_decay: float
    max_gradient_norm: float
    """0: gradients are not clipped."""
    min_snr_gamma: float
    """0: all timesteps weigh the same."""
    noise_offset: float
    caption_dropout: float
    """Chance that a row sees the empty caption."""
    seed: int
    horizontal_flip: bool
    optimizer: str = "adamw"
    """Of `Optimizer`. Prodigy wants one learning rate for all: a factor on the step size that it finds."""
    ema_decay: float = 0.0
    """Of the moving average of the weights that is the result; 0: the weights as they are."""
    validation_interval: int = 0
    """Steps between evaluations on the validation items, of which the last step is one; 0: none."""
    patience: int = 0
    """The job ends after so many evaluations in a row without a new best; 0: never."""
    keep_best: bool = False
    """The result is the best by validation loss, not the last."""
    shuffle_tags: bool = False
    """Each row sees the comma-separated parts of its caption in a new order."""
    keep_tokens: int = 0
    """So many parts at the beginning stay where they are."""
    prior_weight: float = 0.0
    """Of the class pictures' mean loss, beside that of the job's own; 0: there are none."""
    prior_batch_size: int = 0
    """Class pictures in each step."""
    gradient_checkpointing: bool = False
    """Wants the pack's activations computed again instead of kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingImage:
    """One picture with its caption."""

    caption: str
    load: Callable[[], Tensor]
    """Gives x_CHW, float32 in [-1, 1], scaled and cropped to `size`. Called once."""
    size: tuple[int, int] | None = None
    """Height and width of its bucket in pixels; None: the training resolution on both sides."""
    original_size: tuple[int, int] | None = None
    """Height and width in pixels before it was scaled; None: it was not."""
    crop: tuple[int, int] = (0, 0)
    """Pixels of the scaled picture above and to the left of what `load` gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationReport:
    """What an evaluation found."""

    loss: float
    """Mean over the validation items, with the same noise and timesteps every time."""
    best_loss: float
    """The lowest so far, this one included."""
    best_step: int
    """Steps that had been done at the best."""
    stale: int
    """Evaluations since the best."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a job's result is, as it stands."""

    step: int
    """Steps done."""
    result_step: int
    """Steps that the result's weights have seen."""
    stopped_early: bool
    """Whether the job's patience has ended it before its last step."""
    validation: ValidationReport | None
    """The newest evaluation."""
    validation_loss: float | None
    """Of the result's weights; None if they were never evaluated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """What one step did for one job."""

    job_id: str
    step: int
    """Steps done, from 1."""
    total_steps: int
    epoch: int
    """The pass over the pictures that the step belongs to, from 1."""
    loss: float
    """Mean over the job's rows; not a number if `fault` says so."""
    learning_rate: float
    """That the step used (the UNet's)."""
    rows: int
    """Pictures seen."""
    finished: bool
    fault: EngineFault | None
    """Set if the job was ejected in this step; it stays as it was before the step."""
    validation: ValidationReport | None = None
    """Set if the job was evaluated after this step."""
    notices: tuple[str, ...] = ()
    """What the job's owner should know of the step: that memory was short, and what was done about it."""
    pause_seconds: float = field(default=0.0, compare=False)
    """Of the step's time, what went into evaluations of any job and is no training."""
