"""Advice on a spec: what its owner may want to change, judged from the spec and the pictures. Never blocks a
job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.trainer.buckets import group_sizes
from services.trainer.manifest import Picture
from services.trainer.spec import Optimizer, Schedule, TrainingSpec, steps_per_epoch

SMALL_SET_IMAGES: Final = 100
MANY_EPOCHS: Final = 15
LOWEST_LEARNING_RATE: Final = 1e-4
HIGHEST_LEARNING_RATE: Final = 3e-4
PRODIGY_LEARNING_RATE: Final = 1.0
FEWEST_AVERAGES: Final = 2.0
"""Lengths of a moving average that a job should have at least."""
SMALLEST_BATCH: Final = 4
# Learning rates come as decimals: 3e-4 written as 0.0003 is inside the range.
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice: a stable code, the field of the spec that it is about, a sentence."""

    code: str
    field: str
    message: str


def advise(spec: TrainingSpec, pictures: Sequence[Picture], *, base_resolution: int) -> tuple[Advice, ...]:
    """All advice on training `spec` over `pictures` (the training split) on a base made for `base_resolution`
    px."""
    groups = group_sizes(spec, pictures)
    return (
        *_on_pictures(spec, pictures, base_resolution),
        *_on_captions(spec, pictures),
        *_on_optimization(spec),
        *_on_length(spec, groups),
        *_on_result(spec, spec.total_steps(*groups)),
    )


def _on_pictures(spec: TrainingSpec, pictures: Sequence[Picture], base_resolution: int) -> Iterator[Advice]:
    small = sum(min(picture.width, picture.height) < base_resolution for picture in pictures)
    if small:
        yield Advice(
            "PICTURES_TOO_SMALL",
            "dataset_revision",
            f"{small} of {len(pictures)} pictures are smaller than the {base_resolution} px that the base was"
            " made for; enlarged pictures teach blur",
        )
    if len(pictures) < SMALL_SET_IMAGES and spec.adapter.dropout <= 0.0:
        yield Advice(
            "SMALL_SET_WITHOUT_DROPOUT",
            "adapter.dropout",
            f"{len(pictures)} pictures are few (under {SMALL_SET_IMAGES}): a dropout of 0.05 to 0.1 keeps the"
            " LoRA from learning them by heart",
        )
    repeated = len(pictures) - len({picture.sha256 for picture in pictures})
    if repeated:
        yield Advice(
            "REPEATED_PICTURES",
            "dataset_revision",
            f"{repeated} pictures are there more than once and count as often",
        )
    if spec.resolution != base_resolution:
        yield Advice(
            "RESOLUTION_DIFFERS",
            "resolution",
            f"the base was made for {base_resolution} px, not for {spec.resolution} px",
        )


def _on_captions(spec: TrainingSpec, pictures: Sequence[Picture]) -> Iterator[Advice]:
    captions = Counter(picture.caption.strip() for picture in pictures)
    empty = captions.pop("", 0)
    if empty:
        yield Advice(
            "EMPTY_CAPTIONS", "dataset_revision", f"{empty} of {len(pictures)} pictures have no caption"
        )
    if len(captions) == 1 and captions.total() > 1:
        yield Advice(
            "CAPTIONS_ALL_THE_SAME",
            "dataset_revision",
            "all captions are the same: nothing in a prompt will be able to change the picture",
        )
    if not spec.trigger_words:
        yield Advice(
            "NO_TRIGGER_WORD",
            "trigger_words",
            "without a trigger word the LoRA has nothing that calls it by name",
        )
    for word in spec.trigger_words:
        missing = sum(
            count for caption, count in captions.items() if word.casefold() not in caption.casefold()
        )
        if missing + empty:
            yield Advice(
                "CAPTIONS_WITHOUT_TRIGGER_WORD",
                "trigger_words",
                f"{missing + empty} of {len(pictures)} captions do not have the trigger word {word!r}",
            )


def _on_optimization(spec: TrainingSpec) -> Iterator[Advice]:
    optimization = spec.optimization
    rate = optimization.learning_rate
    yield from _on_rate(optimization.optimizer, rate)
    if optimization.batch_size < SMALLEST_BATCH:
        yield Advice(
            "BATCH_SIZE_SMALL",
            "optimization.batch_size",
            f"a batch of {optimization.batch_size} gives noisy steps; {SMALLEST_BATCH} or more is steadier",
        )
    if spec.adapter.train_text_encoder and optimization.text_encoder_learning_rate > rate:
        yield Advice(
            "TEXT_ENCODER_LEARNING_RATE_HIGH",
            "optimization.text_encoder_learning_rate",
            "the text encoder learns faster than the image model; half of its rate is usual",
        )


def _on_rate(optimizer: Optimizer, rate: float) -> Iterator[Advice]:
    if optimizer is Optimizer.PRODIGY:
        if abs(rate - PRODIGY_LEARNING_RATE) > _TOLERANCE:
            yield Advice(
                "PRODIGY_LEARNING_RATE",
                "optimization.learning_rate",
                f"Prodigy finds the step size itself: {PRODIGY_LEARNING_RATE:g} is usual, not {rate:g}",
            )
        return
    if rate < LOWEST_LEARNING_RATE - _TOLERANCE:
        yield Advice(
            "LEARNING_RATE_LOW",
            "optimization.learning_rate",
            f"{rate:g} is below {LOWEST_LEARNING_RATE:g}: slow",
        )
    if rate > HIGHEST_LEARNING_RATE + _TOLERANCE:
        yield Advice(
            "LEARNING_RATE_HIGH",
            "optimization.learning_rate",
            f"{rate:g} is above {HIGHEST_LEARNING_RATE:g}: training may become unstable or forget the base",
        )


def _on_length(spec: TrainingSpec, groups: Sequence[int]) -> Iterator[Advice]:
    optimization, images = spec.optimization, sum(groups)
    total_steps = spec.total_steps(*groups)
    epochs = total_steps / steps_per_epoch(optimization.batch_size, *groups)
    if images < SMALL_SET_IMAGES and epochs > MANY_EPOCHS:
        field = "optimization.max_steps" if optimization.max_steps is not None else "optimization.epochs"
        yield Advice(
            "MANY_EPOCHS_ON_SMALL_SET",
            field,
            f"{epochs:.0f} epochs over {images} pictures: more than {MANY_EPOCHS} on a small set tend to"
            " learn them by heart",
        )
    if optimization.batch_size > images:
        yield Advice(
            "BATCH_LARGER_THAN_SET",
            "optimization.batch_size",
            f"a batch of {optimization.batch_size} is more than the {images} pictures there are",
        )
    warms_up = optimization.schedule is not Schedule.CONSTANT and optimization.warmup_steps > 0
    if warms_up and optimization.warmup_steps * 2 > total_steps:
        yield Advice(
            "WARMUP_LONG",
            "optimization.warmup_steps",
            f"{optimization.warmup_steps} of {total_steps} steps are warm-up",
        )


def _on_result(spec: TrainingSpec, total_steps: int) -> Iterator[Advice]:
    interval, patience = spec.validation.interval_steps, spec.validation.patience
    if patience and interval * patience >= total_steps:
        yield Advice(
            "PATIENCE_LONG",
            "validation.patience",
            f"{patience} evaluations, {interval} steps apart, take the {total_steps} steps that there are:"
            " the job cannot end early",
        )
    decay = spec.optimization.ema_decay
    if decay > 0.0 and total_steps * (1.0 - decay) < FEWEST_AVERAGES:
        yield Advice(
            "MOVING_AVERAGE_LONG",
            "optimization.ema_decay",
            f"a decay of {decay:g} looks back over {1.0 / (1.0 - decay):.0f} steps of {total_steps}: the"
            " result lags behind what has been learned",
        )
