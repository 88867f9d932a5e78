"""Makes a complete spec of a draft: defaults from the base, the revision and the parent version,
contradictions named."""

from __future__ import annotations

from typing import Final

from servicekit.errors import FieldViolation, InvalidArgument
from services.trainer.row_settings import complete_buckets, complete_prior, row_contradictions
from services.trainer.sources import LANGUAGE_FAMILY, BaseModel, DatasetRevision, LoraVersion
from services.trainer.spec import (
    AdapterSpec,
    LossSpec,
    OptimizationSpec,
    Optimizer,
    SampleSpec,
    Schedule,
    SpecDraft,
    Target,
    TrainingSpec,
    ValidationSpec,
)

TRAINABLE_FAMILIES: Final = frozenset({"sd15", "sdxl", LANGUAGE_FAMILY})
DEFAULT_RANK: Final = 8
DEFAULT_TARGETS: Final = frozenset({Target.ATTENTION, Target.FEED_FORWARD})
DEFAULT_LEARNING_RATE: Final = 1e-4
PRODIGY_LEARNING_RATE: Final = 1.0
DEFAULT_BATCH_SIZE: Final = 4
DEFAULT_EPOCHS: Final = 10
DEFAULT_WEIGHT_DECAY: Final = 0.01
DEFAULT_GRADIENT_NORM: Final = 1.0
DEFAULT_MIN_SNR_GAMMA: Final = 5.0
DEFAULT_CHECKPOINT_INTERVAL: Final = 100
DEFAULT_VALIDATION_ITEMS: Final = 64
DEFAULT_SAMPLE_STEPS: Final = 20
DEFAULT_GUIDANCE_SCALE: Final = 5.0
DEFAULT_NEW_TOKENS: Final = 64
_RESOLUTION_UNIT: Final = 8
_SMALLEST_RESOLUTION: Final = 16


def complete(
    draft: SpecDraft,
    *,
    base: BaseModel,
    revision: DatasetRevision,
    parent: LoraVersion | None,
    prior: DatasetRevision | None = None,
    drawn_seed: int,
) -> TrainingSpec:
    """The draft with nothing left out.

    A parent brings rank, alpha and targets; `prior` are class pictures. Call `contradictions` first: this
    function takes the draft as sound.
    """
    optimization = _optimization(draft)
    return TrainingSpec(
        base_model=base.name,
        dataset_revision=revision.name,
        lora=draft.lora,
        parent_version=parent.name if parent else None,
        trigger_words=draft.trigger_words or revision.trigger_words,
        adapter=_adapter(draft, parent),
        optimization=optimization,
        loss=LossSpec(
            min_snr_gamma=_given(draft.min_snr_gamma, 0.0 if base.learns_texts else DEFAULT_MIN_SNR_GAMMA),
            noise_offset=draft.noise_offset,
            caption_dropout=draft.caption_dropout,
        ),
        samples=SampleSpec(
            prompts=draft.sample_prompts,
            interval_steps=draft.sample_interval_steps,
            steps=draft.sample_steps or DEFAULT_SAMPLE_STEPS,
            guidance_scale=_given(draft.sample_guidance_scale, DEFAULT_GUIDANCE_SCALE),
            seed=draft.sample_seed,
            max_new_tokens=draft.sample_max_new_tokens or DEFAULT_NEW_TOKENS,
            temperature=draft.sample_temperature,
        ),
        resolution=0 if base.learns_texts else draft.resolution or base.resolution,
        horizontal_flip=draft.horizontal_flip,
        seed=drawn_seed if draft.seed is None else draft.seed,
        checkpoint_interval_steps=draft.checkpoint_interval_steps or DEFAULT_CHECKPOINT_INTERVAL,
        precision=draft.precision,
        validation=_validation(draft),
        aspect_ratio_buckets=complete_buckets(draft, base),
        caption=draft.caption,
        prior_preservation=complete_prior(draft, prior, optimization.batch_size),
        gradient_checkpointing=draft.gradient_checkpointing,
    )


def contradictions(
    draft: SpecDraft, *, base: BaseModel | None, parent: LoraVersion | None, prefix: str
) -> list[FieldViolation]:
    """What in the draft does not go together with its base and parent, as far as they are known."""
    found: list[FieldViolation] = []
    if base is not None:
        if base.family not in TRAINABLE_FAMILIES:
            found.append(
                _violation(prefix, "base_model", f"LoRAs of the family {base.family} cannot be trained here")
            )
        resolution = draft.resolution or base.resolution
        if base.learns_texts:
            found += _about_pictures(draft, base, prefix)
        elif resolution % _RESOLUTION_UNIT or resolution < _SMALLEST_RESOLUTION:
            text = f"must be a multiple of {_RESOLUTION_UNIT} from {_SMALLEST_RESOLUTION}, not {resolution}"
            found.append(_violation(prefix, "resolution", text))
        found += row_contradictions(draft, base, prefix)
    if parent is not None:
        found += _misfits(draft, base, parent, prefix)
    if draft.optimizer is Optimizer.PRODIGY and draft.text_encoder_learning_rate not in {None, _rate(draft)}:
        text = f"must be the learning rate, {_rate(draft):g}: Prodigy has one step size for all; leave it out"
        found.append(_violation(prefix, "optimization.text_encoder_learning_rate", text))
    return found


def refuse(violations: list[FieldViolation]) -> None:
    """InvalidArgument with all of them, if there are any."""
    if violations:
        raise InvalidArgument(violations)


def _about_pictures(draft: SpecDraft, base: BaseModel, prefix: str) -> list[FieldViolation]:
    """Settings that have no meaning for a language model, and so must be a mistake."""
    given = {
        "resolution": draft.resolution is not None,
        "horizontal_flip": draft.horizontal_flip,
        "adapter.train_text_encoder": draft.train_text_encoder,
        "adapter.targets": Target.CONV_1X1 in draft.targets,
        "loss.min_snr_gamma": bool(draft.min_snr_gamma),
        "loss.noise_offset": draft.noise_offset > 0,
        "loss.caption_dropout": draft.caption_dropout > 0,
    }
    text = f"is for pictures; {base.name} learns from texts"
    return [_violation(prefix, field, text) for field, is_given in given.items() if is_given]


def _misfits(
    draft: SpecDraft, base: BaseModel | None, parent: LoraVersion, prefix: str
) -> list[FieldViolation]:
    found: list[FieldViolation] = []
    if base is not None and parent.base_model_sha256 != base.sha256:
        text = f"{parent.name} was trained on another base model than {base.name}"
        found.append(_violation(prefix, "parent_version", text))
    if base is not None and parent.family != base.family:
        text = f"{parent.name} is of the family {parent.family}, the base of {base.family}"
        found.append(_violation(prefix, "parent_version", text))
    if draft.rank not in {None, parent.rank}:
        text = f"{parent.name} has rank {parent.rank}, not {draft.rank}; leave it out to take the parent's"
        found.append(_violation(prefix, "adapter.rank", text))
    if parent.alpha is not None and draft.alpha not in {None, parent.alpha}:
        text = f"{parent.name} has alpha {parent.alpha:g}, not {draft.alpha:g}; leave it out to take that"
        found.append(_violation(prefix, "adapter.alpha", text))
    missing = parent.targets - draft.targets if draft.targets else frozenset()
    if missing:
        text = (
            f"{parent.name} has {', '.join(sorted(missing))} too; leave the targets out to take the parent's"
        )
        found.append(_violation(prefix, "adapter.targets", text))
    return found


def _adapter(draft: SpecDraft, parent: LoraVersion | None) -> AdapterSpec:
    rank = draft.rank or (parent.rank if parent else DEFAULT_RANK)
    inherited = parent.alpha if parent and parent.alpha is not None else float(rank)
    return AdapterSpec(
        rank=rank,
        alpha=draft.alpha or inherited,
        dropout=draft.dropout,
        targets=draft.targets or (parent.targets if parent else DEFAULT_TARGETS),
        train_text_encoder=draft.train_text_encoder or (parent is not None and parent.trains_text_encoder),
    )


def _optimization(draft: SpecDraft) -> OptimizationSpec:
    rate = _rate(draft)
    text_rate = rate if draft.optimizer is Optimizer.PRODIGY else rate / 2
    return OptimizationSpec(
        learning_rate=rate,
        text_encoder_learning_rate=draft.text_encoder_learning_rate or text_rate,
        schedule=draft.schedule or Schedule.COSINE,
        warmup_steps=draft.warmup_steps,
        batch_size=draft.batch_size or DEFAULT_BATCH_SIZE,
        epochs=draft.epochs if draft.epochs or draft.max_steps else DEFAULT_EPOCHS,
        max_steps=draft.max_steps,
        weight_decay=_given(draft.weight_decay, DEFAULT_WEIGHT_DECAY),
        max_gradient_norm=_given(draft.max_gradient_norm, DEFAULT_GRADIENT_NORM),
        optimizer=draft.optimizer or Optimizer.ADAMW,
        ema_decay=draft.ema_decay,
    )


def _rate(draft: SpecDraft) -> float:
    prodigy = draft.optimizer is Optimizer.PRODIGY
    return draft.learning_rate or (PRODIGY_LEARNING_RATE if prodigy else DEFAULT_LEARNING_RATE)


def _validation(draft: SpecDraft) -> ValidationSpec:
    if not draft.validates:
        return ValidationSpec()
    between_checkpoints = draft.checkpoint_interval_steps or DEFAULT_CHECKPOINT_INTERVAL
    return ValidationSpec(
        interval_steps=draft.validation_interval_steps or between_checkpoints,
        patience=draft.patience,
        keep_best=draft.keep_best,
        max_items=draft.validation_max_items or DEFAULT_VALIDATION_ITEMS,
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _violation(prefix: str, field: str, description: str) -> FieldViolation:
    return FieldViolation(f"{prefix}.{field}", description)
