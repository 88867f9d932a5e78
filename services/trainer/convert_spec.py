"""Specs and plans: proto <-> domain."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from brandloom.api.trainer.v1 import resources_pb2 as pb
from services.trainer.convert_rows import (
    buckets_from_proto,
    buckets_to_proto,
    caption_from_proto,
    caption_to_proto,
    prior_from_proto,
    prior_to_proto,
)
from services.trainer.spec import (
    AdapterSpec,
    LossSpec,
    OptimizationSpec,
    Optimizer,
    Precision,
    SampleSpec,
    Schedule,
    SpecDraft,
    Target,
    TrainingSpec,
    ValidationSpec,
)

N = TypeVar("N", int, float)

TARGETS: Final[Mapping[Target, pb.AdapterTarget]] = MappingProxyType(
    {
        Target.ATTENTION: pb.ADAPTER_TARGET_ATTENTION,
        Target.FEED_FORWARD: pb.ADAPTER_TARGET_FEED_FORWARD,
        Target.CONV_1X1: pb.ADAPTER_TARGET_CONV_1X1,
    }
)
SCHEDULES: Final[Mapping[Schedule, pb.LearningRateSchedule]] = MappingProxyType(
    {
        Schedule.CONSTANT: pb.LEARNING_RATE_SCHEDULE_CONSTANT,
        Schedule.CONSTANT_WITH_WARMUP: pb.LEARNING_RATE_SCHEDULE_CONSTANT_WITH_WARMUP,
        Schedule.LINEAR: pb.LEARNING_RATE_SCHEDULE_LINEAR,
        Schedule.COSINE: pb.LEARNING_RATE_SCHEDULE_COSINE,
    }
)
OPTIMIZERS: Final[Mapping[Optimizer, pb.OptimizerKind]] = MappingProxyType(
    {
        Optimizer.ADAMW: pb.OPTIMIZER_KIND_ADAMW,
        Optimizer.ADAMW_8BIT: pb.OPTIMIZER_KIND_ADAMW_8BIT,
        Optimizer.PRODIGY: pb.OPTIMIZER_KIND_PRODIGY,
        Optimizer.ADAFACTOR: pb.OPTIMIZER_KIND_ADAFACTOR,
    }
)
PRECISIONS: Final[Mapping[Precision, pb.Precision]] = MappingProxyType(
    {
        Precision.AUTO: pb.PRECISION_UNSPECIFIED,
        Precision.FLOAT32: pb.PRECISION_FLOAT32,
        Precision.BFLOAT16: pb.PRECISION_BFLOAT16,
    }
)
TARGET_OF: Final = {number: target for target, number in TARGETS.items()}
_SCHEDULE_OF: Final = {number: schedule for schedule, number in SCHEDULES.items()}
_OPTIMIZER_OF: Final = {number: optimizer for optimizer, number in OPTIMIZERS.items()}
PRECISION_OF: Final = {number: precision for precision, number in PRECISIONS.items()}


def draft_from_proto(spec: pb.TrainingSpec) -> SpecDraft:
    """The draft of a request; zeros and unset fields are what the caller left out."""
    adapter, optimization, loss, samples = spec.adapter, spec.optimization, spec.loss, spec.samples
    validation = spec.validation
    return SpecDraft(
        base_model=spec.base_model,
        dataset_revision=spec.dataset_revision,
        lora=spec.lora,
        parent_version=spec.parent_version or None,
        trigger_words=tuple(spec.trigger_words),
        resolution=spec.resolution or None,
        horizontal_flip=spec.horizontal_flip,
        seed=_set(spec, "seed", spec.seed),
        checkpoint_interval_steps=spec.checkpoint_interval_steps or None,
        precision=PRECISION_OF[spec.precision],
        rank=adapter.rank or None,
        alpha=adapter.alpha or None,
        dropout=adapter.dropout,
        targets=frozenset(TARGET_OF[number] for number in adapter.targets),
        train_text_encoder=adapter.train_text_encoder,
        learning_rate=optimization.learning_rate or None,
        text_encoder_learning_rate=optimization.text_encoder_learning_rate or None,
        schedule=_SCHEDULE_OF.get(optimization.schedule),
        warmup_steps=optimization.warmup_steps,
        batch_size=optimization.batch_size or None,
        epochs=optimization.epochs or None,
        max_steps=optimization.max_steps or None,
        weight_decay=_set(optimization, "weight_decay", optimization.weight_decay),
        max_gradient_norm=_set(optimization, "max_gradient_norm", optimization.max_gradient_norm),
        optimizer=_OPTIMIZER_OF.get(optimization.optimizer),
        ema_decay=optimization.ema_decay,
        min_snr_gamma=_set(loss, "min_snr_gamma", loss.min_snr_gamma),
        noise_offset=loss.noise_offset,
        caption_dropout=loss.caption_dropout,
        sample_prompts=tuple(samples.prompts),
        sample_interval_steps=samples.interval_steps,
        sample_steps=samples.steps or None,
        sample_guidance_scale=_set(samples, "guidance_scale", samples.guidance_scale),
        sample_seed=samples.seed,
        sample_max_new_tokens=samples.max_new_tokens or None,
        sample_temperature=samples.temperature,
        validation_interval_steps=validation.interval_steps or None,
        patience=validation.patience,
        keep_best=validation.keep_best,
        validation_max_items=validation.max_items or None,
        aspect_ratio_buckets=buckets_from_proto(spec.aspect_ratio_buckets),
        caption=caption_from_proto(spec.caption),
        prior_preservation=prior_from_proto(spec.prior_preservation),
        gradient_checkpointing=spec.gradient_checkpointing,
    )


def spec_to_proto(spec: TrainingSpec) -> pb.TrainingSpec:
    """A complete spec, with every field set."""
    return pb.TrainingSpec(
        base_model=spec.base_model,
        dataset_revision=spec.dataset_revision,
        lora=spec.lora,
        parent_version=spec.parent_version or "",
        trigger_words=spec.trigger_words,
        adapter=pb.AdapterSpec(
            rank=spec.adapter.rank,
            alpha=spec.adapter.alpha,
            dropout=spec.adapter.dropout,
            targets=[TARGETS[target] for target in sorted(spec.adapter.targets)],
            train_text_encoder=spec.adapter.train_text_encoder,
        ),
        optimization=_optimization_to_proto(spec.optimization),
        loss=pb.LossSpec(
            min_snr_gamma=spec.loss.min_snr_gamma,
            noise_offset=spec.loss.noise_offset,
            caption_dropout=spec.loss.caption_dropout,
        ),
        samples=pb.SampleSpec(
            prompts=spec.samples.prompts,
            interval_steps=spec.samples.interval_steps,
            steps=spec.samples.steps,
            guidance_scale=spec.samples.guidance_scale,
            seed=spec.samples.seed,
            max_new_tokens=spec.samples.max_new_tokens,
            temperature=spec.samples.temperature,
        ),
        resolution=spec.resolution,
        horizontal_flip=spec.horizontal_flip,
        seed=spec.seed,
        checkpoint_interval_steps=spec.checkpoint_interval_steps,
        precision=PRECISIONS[spec.precision],
        validation=_validation_to_proto(spec.validation),
        aspect_ratio_buckets=buckets_to_proto(spec.aspect_ratio_buckets),
        caption=caption_to_proto(spec.caption),
        prior_preservation=prior_to_proto(spec.prior_preservation),
        gradient_checkpointing=spec.gradient_checkpointing,
    )


def spec_from_proto(spec: pb.TrainingSpec) -> TrainingSpec:
    """A complete spec as `spec_to_proto` wrote it."""
    return TrainingSpec(
        base_model=spec.base_model,
        dataset_revision=spec.dataset_revision,
        lora=spec.lora,
        parent_version=spec.parent_version or None,
        trigger_words=tuple(spec.trigger_words),
        adapter=AdapterSpec(
            rank=spec.adapter.rank,
            alpha=spec.adapter.alpha,
            dropout=spec.adapter.dropout,
            targets=frozenset(TARGET_OF[number] for number in spec.adapter.targets),
            train_text_encoder=spec.adapter.train_text_encoder,
        ),
        optimization=_optimization_from_proto(spec.optimization),
        loss=LossSpec(
            min_snr_gamma=spec.loss.min_snr_gamma,
            noise_offset=spec.loss.noise_offset,
            caption_dropout=spec.loss.caption_dropout,
        ),
        samples=SampleSpec(
            prompts=tuple(spec.samples.prompts),
            interval_steps=spec.samples.interval_steps,
            steps=spec.samples.steps,
            guidance_scale=spec.samples.guidance_scale,
            seed=spec.samples.seed,
            max_new_tokens=spec.samples.max_new_tokens,
            temperature=spec.samples.temperature,
        ),
        resolution=spec.resolution,
        horizontal_flip=spec.horizontal_flip,
        seed=spec.seed,
        checkpoint_interval_steps=spec.checkpoint_interval_steps,
        precision=PRECISION_OF[spec.precision],
        validation=_validation_from_proto(spec.validation),
        aspect_ratio_buckets=buckets_from_proto(spec.aspect_ratio_buckets),
        caption=caption_from_proto(spec.caption),
        prior_preservation=prior_from_proto(spec.prior_preservation),
        gradient_checkpointing=spec.gradient_checkpointing,
    )


def _optimization_to_proto(optimization: OptimizationSpec) -> pb.OptimizationSpec:
    message = pb.OptimizationSpec(
        learning_rate=optimization.learning_rate,
        text_encoder_learning_rate=optimization.text_encoder_learning_rate,
        schedule=SCHEDULES[optimization.schedule],
        warmup_steps=optimization.warmup_steps,
        batch_size=optimization.batch_size,
        weight_decay=optimization.weight_decay,
        max_gradient_norm=optimization.max_gradient_norm,
        optimizer=OPTIMIZERS[optimization.optimizer],
        ema_decay=optimization.ema_decay,
    )
    if optimization.max_steps is not None:
        message.max_steps = optimization.max_steps
    elif optimization.epochs is not None:
        message.epochs = optimization.epochs
    return message


def _optimization_from_proto(optimization: pb.OptimizationSpec) -> OptimizationSpec:
    return OptimizationSpec(
        learning_rate=optimization.learning_rate,
        text_encoder_learning_rate=optimization.text_encoder_learning_rate,
        schedule=_SCHEDULE_OF[optimization.schedule],
        warmup_steps=optimization.warmup_steps,
        batch_size=optimization.batch_size,
        epochs=optimization.epochs or None,
        max_steps=optimization.max_steps or None,
        weight_decay=optimization.weight_decay,
        max_gradient_norm=optimization.max_gradient_norm,
        optimizer=_OPTIMIZER_OF.get(optimization.optimizer, Optimizer.ADAMW),
        ema_decay=optimization.ema_decay,
    )


def _validation_to_proto(validation: ValidationSpec) -> pb.ValidationSpec:
    return pb.ValidationSpec(
        interval_steps=validation.interval_steps,
        patience=validation.patience,
        keep_best=validation.keep_best,
        max_items=validation.max_items,
    )


def _validation_from_proto(validation: pb.ValidationSpec) -> ValidationSpec:
    return ValidationSpec(
        interval_steps=validation.interval_steps,
        patience=validation.patience,
        keep_best=validation.keep_best,
        max_items=validation.max_items,
    )


def _set(
    message: pb.TrainingSpec | pb.OptimizationSpec | pb.LossSpec | pb.SampleSpec, field: str, value: N
) -> N | None:
    return value if message.HasField(field) else None  # type: ignore[arg-type]
