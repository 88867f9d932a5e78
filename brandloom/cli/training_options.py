"""Training settings as options of a command."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

import click

from brandloom import AdapterTarget, LearningRateSchedule, OptimizerKind, Precision, TrainingOptions

F = TypeVar("F", bound=Callable[..., Any])

_HELP: Final = {
    "rank": "Rank of the adapter (default: 8).",
    "alpha": "Scale of the adapter (default: the rank).",
    "dropout": "Share of the adapter's inputs left out.",
    "targets": "Layers to adapt; repeatable (default: attention and feed_forward).",
    "train_text_encoder": "Adapt the text encoder too.",
    "learning_rate": "Default: 1e-4; with prodigy 1.",
    "text_encoder_learning_rate": "Default: half of --learning-rate; with prodigy the same.",
    "schedule": "Of the learning rate (default: cosine).",
    "warmup_steps": "Steps until the full learning rate.",
    "batch_size": "Pictures in a step (default: 4).",
    "epochs": "Passes over the pictures.",
    "max_steps": "Steps, instead of --epochs.",
    "weight_decay": "The optimizer's (default: 0.01).",
    "max_gradient_norm": "0 switches clipping off (default: 1).",
    "optimizer": "What steps the weights (default: adamw).",
    "ema_decay": "Register a moving average of the weights with this decay, such as 0.99.",
    "min_snr_gamma": "0 switches min-SNR weights off (default: 5).",
    "noise_offset": "Brightness noise.",
    "caption_dropout": "Share of captions replaced by the empty one.",
    "sample_prompts": "Picture, or answer, to make while training; repeatable.",
    "sample_interval_steps": "Steps between samples (default: at the end only).",
    "sample_steps": "Denoising steps of samples (default: 20).",
    "sample_guidance_scale": "Guidance of samples (default: 5).",
    "sample_seed": "Seed of samples.",
    "sample_max_new_tokens": "Longest sample text in tokens (default: 64).",
    "sample_temperature": "Temperature of sample texts (default: 0, the likeliest words).",
    "validation_interval_steps": "Steps between evaluations on the validation split (default: none).",
    "early_stopping_patience": "End after so many evaluations without a new best.",
    "keep_best": "Register the weights of the best evaluation.",
    "validation_max_items": "Pictures to evaluate on at most (default: 64).",
    "aspect_ratio_buckets": "Keep the pictures' shape: crop to sizes of one area instead of a square.",
    "bucket_min_size": "Shortest side in pixels (default: half of --resolution).",
    "bucket_max_size": "Longest side in pixels (default: twice --resolution).",
    "bucket_step": "Sides are multiples of this (default: 64, less for small pictures).",
    "shuffle_tags": "Show the comma-separated parts of captions in a new order each time.",
    "keep_tokens": "Parts at the beginning that stay where they are.",
    "prior_dataset": "Class pictures (acme/people) that join each step: prior preservation.",
    "prior_weight": "Of their loss beside that of the job's own pictures (default: 1).",
    "prior_batch_size": "Class pictures in a step (default: --batch-size).",
    "gradient_checkpointing": "Compute activations again instead of keeping them: less memory, more time.",
    "parent_version": "Version to continue from (acme/hero@3).",
    "trigger_words": "Words that call the LoRA; repeatable (default: the revision's).",
    "resolution": "Side of the training pictures in pixels (default: the base's).",
    "horizontal_flip": "Mirror half of the pictures.",
    "seed": "Of noise, order and dropout (default: drawn and shown).",
    "checkpoint_interval_steps": "Steps between checkpoints (default: 100).",
    "precision": "Arithmetic (default: bfloat16 where the device has it).",
}
_CHOICES: Final[dict[str, type[StrEnum]]] = {
    "targets": AdapterTarget,
    "schedule": LearningRateSchedule,
    "optimizer": OptimizerKind,
    "precision": Precision,
}
_PLURAL: Final = {
    "targets": "target",
    "sample_prompts": "sample_prompt",
    "trigger_words": "trigger_word",
}
_FLAGS: Final = (
    "train_text_encoder",
    "horizontal_flip",
    "keep_best",
    "aspect_ratio_buckets",
    "shuffle_tags",
    "gradient_checkpointing",
)
_NUMBERS: Final = {"int": int, "float": float}


def training_settings(function: F) -> F:
    """An option for each of TrainingOptions."""
    for name in reversed(TrainingOptions.__annotations__):
        function = _option(name)(function)
    return function


def chosen(values: dict[str, Any]) -> TrainingOptions:
    """The options that were given, as TrainingSpec.build takes them. UsageError for two that exclude each
    other.
    """
    if values.get("epochs") is not None and values.get("max_steps") is not None:
        raise click.UsageError("--epochs and --max-steps exclude each other")
    options: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or value == () or value is False:
            continue
        enum = _CHOICES.get(name)
        if enum is None:
            options[name] = value
        else:
            options[name] = _member(enum, value) if isinstance(value, str) else _members(enum, value)
    return options  # type: ignore[return-value]


def _option(name: str) -> Callable[[F], F]:
    flag = "--" + _PLURAL.get(name, name).replace("_", "-")
    if name in _FLAGS:
        return click.option(flag, name, is_flag=True, help=_HELP[name])
    kind: Any = str
    if name in _CHOICES:
        kind = click.Choice([member.lower() for member in _CHOICES[name] if member != "UNSPECIFIED"])
    else:
        annotation = TrainingOptions.__annotations__[name]
        kind = _NUMBERS.get(getattr(annotation, "__forward_arg__", str(annotation)), str)
    return click.option(flag, name, type=kind, multiple=name in _PLURAL, help=_HELP[name])


def _member(enum: type[StrEnum], value: str) -> StrEnum:
    return enum(value.upper())


def _members(enum: type[StrEnum], values: tuple[str, ...]) -> tuple[StrEnum, ...]:
    return tuple(_member(enum, value) for value in values)
