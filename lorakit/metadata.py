"""The string metadata of LoRA files: `ss_*` of sd-scripts and `modelspec.*` (ModelSpec 1.0.1). Free of torch.

What is written says how a LoRA was made, not on whose machine: paths lose their directories. The hashes
(`sshs_*`, `modelspec.hash_sha256`) are added when the file is written, for they depend on its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from lorakit.errors import LoraFormatError

NETWORK_MODULE = "networks.lora"
MODEL_SPEC_VERSION = "1.0.1"
IMPLEMENTATION = "https://github.com/Stability-AI/generative-models"
"""What ModelSpec lists for the Stable Diffusion families (sd-scripts writes the same)."""
BASE_DIGEST_KEY = "brandloom_base_model_sha256"
"""Of files for language models."""

ARCHITECTURES = MappingProxyType(
    {"sd15": "stable-diffusion-v1/lora", "sdxl": "stable-diffusion-xl-v1-base/lora"}
)
BASE_VERSIONS = MappingProxyType({"sd15": "sd_v1", "sdxl": "sdxl_base_v1-0"})
# Directories of an absolute path, on POSIX or Windows; not the slashes of a URL or of "and/or".
_DIRECTORIES = re.compile(r"""(?<![\w.:/\\])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\"'<>|]+[/\\])+""")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFacts:
    """The aspect-ratio buckets that pictures were scaled and cropped to."""

    min_side: int
    max_side: int
    """In pixels, as asked for."""
    counts: Mapping[tuple[int, int], int]
    """Pictures of each width and height; sizes without any are left out."""
    mean_aspect_error: float
    """Mean difference between a picture's width / height and its bucket's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What is known of a training run when its file is written. Everything optional is left out if None."""

    output_name: str
    """The name under which a prompt's tag finds the LoRA (A1111's alias)."""
    family: str
    rank: int
    alpha: float
    title: str
    finished_at: datetime
    started_at: datetime | None = None
    network_args: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    base_model_name: str | None = None
    base_model_sha256: str | None = None
    resolution: tuple[int, int] | None = None
    """Width and height in pixels."""
    buckets: BucketFacts | None = None
    """None: every picture has the resolution."""
    train_images: int | None = None
    """Pictures, or texts."""
    steps: int | None = None
    epochs: int | None = None
    seed: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    text_encoder_learning_rate: float | None = None
    lr_schedule: str | None = None
    optimizer: str | None = None
    clip_skip: int | None = None
    min_snr_gamma: float | None = None
    noise_offset: float | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    tag_frequency: Mapping[str, Mapping[str, int]] | None = None
    session_id: str | None = None
    comment: str | None = None
    trigger_words: Sequence[str] = ()
    description: str | None = None
    author: str | None = None
    license: str | None = None
    tags: Sequence[str] = ()
    prediction_type: str = "epsilon"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraMetadata:
    """What a file's metadata says, as far as it can be read; values that make no sense are None."""

    output_name: str | None
    title: str | None
    architecture: str | None
    base_model_version: str | None
    base_model_sha256: str | None
    rank: int | None
    alpha: float | None
    steps: int | None
    seed: int | None
    resolution: tuple[int, int] | None
    trigger_words: tuple[str, ...]
    description: str | None
    author: str | None
    license: str | None
    comment: str | None
    model_hash: str | None
    legacy_hash: str | None
    training_finished_at: datetime | None


def build_metadata(facts: TrainingFacts) -> dict[str, str]:
    """The header metadata for a run, without the hashes, in a fixed order.

    Raises LoraFormatError for a family that ModelSpec has no architecture for.
    """
    if facts.family not in ARCHITECTURES:
        raise LoraFormatError(f"no ModelSpec architecture for the family {facts.family!r}")
    values = {**_training_values(facts), **_model_spec_values(facts)}
    return {
        key: without_directories(_text(value)) for key, value in sorted(values.items()) if value is not None
    }


def build_text_metadata(facts: TrainingFacts) -> dict[str, str]:
    """The header metadata for a run on a language model, for which other tools have no names of their own."""
    values = {
        "format": "pt",
        "modelspec.title": facts.title,
        "modelspec.description": facts.description,
        "modelspec.author": facts.author,
        "modelspec.license": facts.license,
        "modelspec.date": _date(facts.finished_at),
        "modelspec.trigger_phrase": ", ".join(facts.trigger_words) or None,
        "modelspec.tags": ", ".join(facts.tags) or None,
        "brandloom_output_name": facts.output_name,
        "brandloom_base_model": facts.base_model_name,
        BASE_DIGEST_KEY: facts.base_model_sha256,
        "brandloom_dataset": facts.dataset_name,
        "brandloom_dataset_digest": facts.dataset_digest,
        "brandloom_train_texts": facts.train_images,
        "brandloom_steps": facts.steps,
        "brandloom_epochs": facts.epochs,
        "brandloom_seed": facts.seed,
        "brandloom_batch_size": facts.batch_size,
        "brandloom_learning_rate": facts.learning_rate,
        "brandloom_lr_schedule": facts.lr_schedule,
        "brandloom_optimizer": facts.optimizer,
        "brandloom_session_id": facts.session_id,
        "brandloom_comment": facts.comment,
    }
    return {key: without_directories(_text(value)) for key, value in values.items() if value is not None}


def read_metadata(metadata: Mapping[str, str]) -> LoraMetadata:
    """What a header's metadata says. Never raises, for it may come from anywhere."""
    trigger = metadata.get("modelspec.trigger_phrase") or ""
    return LoraMetadata(
        output_name=metadata.get("ss_output_name"),
        title=metadata.get("modelspec.title"),
        architecture=metadata.get("modelspec.architecture"),
        base_model_version=metadata.get("ss_base_model_version"),
        base_model_sha256=metadata.get("ss_new_sd_model_hash") or metadata.get(BASE_DIGEST_KEY),
        rank=_integer(metadata.get("ss_network_dim")),
        alpha=_number(metadata.get("ss_network_alpha")),
        steps=_integer(metadata.get("ss_steps")),
        seed=_integer(metadata.get("ss_seed")),
        resolution=_resolution(metadata.get("ss_resolution") or metadata.get("modelspec.resolution")),
        trigger_words=tuple(word.strip() for word in trigger.split(",") if word.strip()),
        description=metadata.get("modelspec.description"),
        author=metadata.get("modelspec.author"),
        license=metadata.get("modelspec.license"),
        comment=metadata.get("ss_training_comment"),
        model_hash=metadata.get("sshs_model_hash"),
        legacy_hash=metadata.get("sshs_legacy_hash"),
        training_finished_at=_time(metadata.get("ss_training_finished_at")),
    )


def without_directories(text: str) -> str:
    """`text` with the directories of absolute paths cut off: `/home/ada/sets/hero` becomes `hero`."""
    return _DIRECTORIES.sub("", text)


def _training_values(facts: TrainingFacts) -> dict[str, Any]:
    size = facts.resolution
    return {
        "ss_v2": False,
        "ss_base_model_version": BASE_VERSIONS[facts.family],
        "ss_network_module": NETWORK_MODULE,
        "ss_network_dim": facts.rank,
        "ss_network_alpha": facts.alpha,
        "ss_network_args": dict(facts.network_args),
        "ss_output_name": facts.output_name,
        "ss_sd_model_name": facts.base_model_name,
        "ss_new_sd_model_hash": facts.base_model_sha256,
        "ss_sd_model_hash": facts.base_model_sha256[:8] if facts.base_model_sha256 else None,
        "ss_resolution": f"({size[0]}, {size[1]})" if size else None,
        **_bucket_values(facts.buckets),
        "ss_num_train_images": facts.train_images,
        "ss_steps": facts.steps,
        "ss_max_train_steps": facts.steps,
        "ss_epoch": facts.epochs,
        "ss_num_epochs": facts.epochs,
        "ss_seed": facts.seed,
        "ss_total_batch_size": facts.batch_size,
        "ss_learning_rate": facts.learning_rate,
        "ss_unet_lr": facts.learning_rate,
        "ss_text_encoder_lr": facts.text_encoder_learning_rate,
        "ss_lr_scheduler": facts.lr_schedule,
        "ss_optimizer": facts.optimizer,
        "ss_clip_skip": facts.clip_skip,
        "ss_min_snr_gamma": facts.min_snr_gamma,
        "ss_noise_offset": facts.noise_offset,
        "ss_dataset_dirs": {facts.dataset_name: {"img_count": facts.train_images}}
        if facts.dataset_name
        else None,
        "ss_tag_frequency": facts.tag_frequency,
        "ss_training_started_at": facts.started_at.timestamp() if facts.started_at else None,
        "ss_training_finished_at": facts.finished_at.timestamp(),
        "ss_session_id": facts.session_id,
        "ss_training_comment": facts.comment,
        "brandloom_dataset_digest": facts.dataset_digest,
    }


def _bucket_values(buckets: BucketFacts | None) -> dict[str, Any]:
    if buckets is None:
        return {"ss_enable_bucket": False}
    filled = [
        {"resolution": list(size), "count": count} for size, count in sorted(buckets.counts.items()) if count
    ]
    info = {"buckets": dict(enumerate(filled)), "mean_img_ar_error": buckets.mean_aspect_error}
    return {
        "ss_enable_bucket": True,
        "ss_bucket_no_upscale": False,
        "ss_min_bucket_reso": buckets.min_side,
        "ss_max_bucket_reso": buckets.max_side,
        "ss_bucket_info": info,
    }


def _model_spec_values(facts: TrainingFacts) -> dict[str, Any]:
    spec = {
        "sai_model_spec": MODEL_SPEC_VERSION,
        "architecture": ARCHITECTURES[facts.family],
        "implementation": IMPLEMENTATION,
        "title": facts.title,
        "description": facts.description,
        "author": facts.author,
        "license": facts.license,
        "date": _date(facts.finished_at),
        "trigger_phrase": ", ".join(facts.trigger_words) or None,
        "tags": ", ".join(facts.tags) or None,
        "prediction_type": "v" if facts.prediction_type == "v_prediction" else facts.prediction_type,
        "resolution": f"{facts.resolution[0]}x{facts.resolution[1]}" if facts.resolution else None,
    }
    return {f"modelspec.{key}": value for key, value in spec.items()}


def _date(time: datetime) -> str:
    return time.astimezone(UTC).replace(microsecond=0).isoformat()


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return value if isinstance(value, str) else str(value)


def _integer(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number == int(number) else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None and len(text) < 64 else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < float("inf") else None


def _resolution(text: str | None) -> tuple[int, int] | None:
    sizes = re.findall(r"\d{1,6}", text or "")
    if not sizes:
        return None
    return int(sizes[0]), int(sizes[1] if len(sizes) > 1 else sizes[0])


def _time(text: str | None) -> datetime | None:
    seconds = _number(text)
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    except (OverflowError, ValueError, OSError):
        return None
