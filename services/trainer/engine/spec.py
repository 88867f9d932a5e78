"""What the engine is asked to do: plain values, already checked by whoever asks. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from services.trainer.engine.fault import EngineFault

if TYPE_CHECKING:
    from torch import Tensor

Target = Literal["attention", "feed_forward", "conv_1x1"]
Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine"]
Precision = Literal["float32", "bfloat16"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingImage:
    """One picture with its caption."""

    caption: str
    load: Callable[[], Tensor]
    """Gives x_CHW, float32 in [-1, 1], cropped to the training resolution. Called once."""


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
