"""A job's spec in the engine's words."""

from __future__ import annotations

from services.trainer.engine import JobSpec
from services.trainer.worker.leases import LeasedJob


def engine_spec(lease: LeasedJob) -> JobSpec:
    """What the engine is told of the job."""
    spec = lease.spec
    return JobSpec(
        rank=spec.adapter.rank,
        alpha=spec.adapter.alpha,
        dropout=spec.adapter.dropout,
        targets=frozenset(target.value for target in spec.adapter.targets),
        train_text_encoder=spec.adapter.train_text_encoder,
        learning_rate=spec.optimization.learning_rate,
        text_encoder_learning_rate=spec.optimization.text_encoder_learning_rate,
        schedule=spec.optimization.schedule.value,
        warmup_steps=spec.optimization.warmup_steps,
        batch_size=spec.optimization.batch_size,
        total_steps=lease.total_steps,
        weight_decay=spec.optimization.weight_decay,
        max_gradient_norm=spec.optimization.max_gradient_norm,
        min_snr_gamma=spec.loss.min_snr_gamma,
        noise_offset=spec.loss.noise_offset,
        caption_dropout=spec.loss.caption_dropout,
        seed=spec.seed,
        horizontal_flip=spec.horizontal_flip,
        shuffle_tags=spec.caption.shuffle_tags,
        keep_tokens=spec.caption.keep_tokens,
        prior_weight=spec.prior_preservation.weight,
        prior_batch_size=spec.prior_preservation.batch_size,
        gradient_checkpointing=spec.gradient_checkpointing,
        optimizer=spec.optimization.optimizer.value,
        ema_decay=spec.optimization.ema_decay,
        validation_interval=spec.validation.interval_steps,
        patience=spec.validation.patience,
        keep_best=spec.validation.keep_best,
    )
