"""The YAML of `brandloom train`: read safely, checked as a whole, every fault told with its line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from brandloom import AdapterTarget, LearningRateSchedule, OptimizerKind, Precision, TrainingOptions
from brandloom.errors import ConfigurationError

_LARGEST_BYTES: Final = 1 << 20
_SHOWN_CHARACTERS: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """What to train from which files. Relative paths are taken from the current folder."""

    train_data_dir: Path
    metadata_path: Path | None
    base_model: str
    output_dir: Path
    brand: str
    name: str
    trigger_word: str
    validation_split: float
    """Share of the pictures that is held out for evaluations; 0: what the dataset holds out already."""
    options: TrainingOptions


def read_config(path: Path) -> TrainConfig:
    """The configuration in a file; ConfigurationError with all its faults, each with file and line."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ConfigurationError(f"{path} is too large for a configuration")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text") from error
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> TrainConfig:
    """The configuration in a text; `path` is for messages, and gives the default name."""
    values, lines, faults = _entries(text, path)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        check = _KEYS.get(key)
        if check is None:
            faults.append(f"{path}:{lines[key]}: unknown key {_shown(key)}{_suggestion(key)}")
        elif value is not None:
            try:
                checked[key] = check(value)
            except (TypeError, ValueError) as error:
                faults.append(f"{path}:{lines[key]}: {key}: {error}")
    faults += [f"{path}: {key} is missing" for key in _REQUIRED if key not in checked and key not in values]
    faults += _path_faults(checked, lines, path)
    if "epochs" in checked and "max_steps" in checked:
        faults.append(f"{path}:{lines['max_steps']}: max_steps and epochs exclude each other")
    if faults:
        raise ConfigurationError("\n".join(faults))
    return _config(checked)


def _config(checked: dict[str, Any]) -> TrainConfig:
    options = {_OPTION_NAMES.get(key, key): value for key, value in checked.items()}
    own = {name: options.pop(name, None) for name in _OWN_KEYS}
    data_dir: Path = own["train_data_dir"]
    return TrainConfig(
        train_data_dir=data_dir,
        metadata_path=own["metadata_path"],
        base_model=own["base_model"],
        output_dir=own["output_dir"] or Path("output"),
        brand=own["brand"] or "default",
        name=own["name"] or data_dir.resolve().name,
        trigger_word=own["trigger_word"] or "",
        validation_split=own["validation_split"] or 0.0,
        options=options,  # type: ignore[arg-type]
    )


def _entries(text: str, path: Path) -> tuple[dict[str, Any], dict[str, int], list[str]]:
    """Values and line numbers by key, each key as it is written."""
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    faults: list[str] = []
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise ConfigurationError(f"{path}: must hold `key: value` lines")
        for key_node, value_node in root.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                faults.append(f"{path}:{line}: a key must be a word")
            elif key_node.value in lines:
                faults.append(
                    f"{path}:{line}: {key_node.value} was given in line {lines[key_node.value]} already"
                )
            else:
                lines[key_node.value] = line
                values[key_node.value] = _constructed(loader, value_node, path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigurationError(f"{where}: {error.problem or error.context or 'broken YAML'}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return values, lines, faults


def _constructed(loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, OverflowError) as error:  # dates like 2026-13-40, numbers of thousands of digits
        raise ConfigurationError(f"{path}:{node.start_mark.line + 1}: {error}") from error


def _path_faults(checked: Mapping[str, Any], lines: Mapping[str, int], path: Path) -> list[str]:
    faults = []
    folder = checked.get("train_data_dir")
    if folder is not None and not folder.is_dir():
        faults.append(f"{path}:{lines['train_data_dir']}: train_data_dir: {folder} is no folder")
    metadata = checked.get("metadata_path")
    if metadata is not None and not metadata.is_file():
        faults.append(f"{path}:{lines['metadata_path']}: metadata_path: {metadata} is no file")
    elif metadata is not None and metadata.suffix.lower() not in (".csv", ".jsonl", ".zip"):
        faults.append(f"{path}:{lines['metadata_path']}: metadata_path: must be a .csv, .jsonl or .zip")
    return faults


def _suggestion(key: str) -> str:
    near = difflib.get_close_matches(key, _KEYS, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    # Aliases make a few lines of YAML into lists whose full text would fill the memory.
    if isinstance(value, str | int | float | date | None):
        return repr(value)[:_SHOWN_CHARACTERS]
    return f"a {type(value).__name__}"


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | date):
        raise ValueError("must be a text")
    return str(value)


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser()


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {_shown(value)}")
    return value


def _number(value: Any) -> float:
    # YAML 1.1 reads 1e-4 as a text: it takes a dot to be a number there.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a number, not {_shown(value)}")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"must be a number, not {_shown(value)}") from None


def _share(value: Any) -> float:
    share = _number(value)
    if not 0.0 <= share < 1.0:
        raise ValueError(f"must be a share from 0 to below 1, not {value!r}")
    return share


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_shown(value)}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in (value if isinstance(value, list) else [value]))


def _word_of(enum: Any) -> Callable[[Any], Any]:
    names = [member.lower() for member in enum if member != "UNSPECIFIED"]

    def check(value: Any) -> Any:
        if not isinstance(value, str) or value.lower() not in names:
            raise ValueError(f"must be one of {', '.join(names)}, not {_shown(value)}")
        return enum(value.upper())

    return check


def _targets(value: Any) -> tuple[Any, ...]:
    check = _word_of(AdapterTarget)
    return tuple(check(item) for item in (value if isinstance(value, list) else [value]))


_OPTION_NAMES: Final = {
    "lora_rank": "rank",
    "save_steps": "checkpoint_interval_steps",
    "validation_interval": "validation_interval_steps",
}
_OWN_KEYS: Final = (
    "train_data_dir",
    "metadata_path",
    "base_model",
    "output_dir",
    "brand",
    "name",
    "trigger_word",
    "validation_split",
)
_REQUIRED: Final = ("train_data_dir", "base_model")
_KEYS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "train_data_dir": _path,
    "metadata_path": _path,
    "base_model": _text,
    "output_dir": _path,
    "brand": _text,
    "name": _text,
    "trigger_word": _text,
    "validation_split": _share,
    "lora_rank": _whole,
    "alpha": _number,
    "dropout": _number,
    "targets": _targets,
    "train_text_encoder": _yes_or_no,
    "learning_rate": _number,
    "text_encoder_learning_rate": _number,
    "schedule": _word_of(LearningRateSchedule),
    "warmup_steps": _whole,
    "batch_size": _whole,
    "epochs": _whole,
    "max_steps": _whole,
    "weight_decay": _number,
    "max_gradient_norm": _number,
    "optimizer": _word_of(OptimizerKind),
    "ema_decay": _number,
    "min_snr_gamma": _number,
    "noise_offset": _number,
    "caption_dropout": _number,
    "sample_prompts": _texts,
    "sample_interval_steps": _whole,
    "sample_steps": _whole,
    "sample_guidance_scale": _number,
    "sample_seed": _whole,
    "sample_max_new_tokens": _whole,
    "sample_temperature": _number,
    "validation_interval": _whole,
    "early_stopping_patience": _whole,
    "keep_best": _yes_or_no,
    "validation_max_items": _whole,
    "aspect_ratio_buckets": _yes_or_no,
    "bucket_min_size": _whole,
    "bucket_max_size": _whole,
    "bucket_step": _whole,
    "shuffle_tags": _yes_or_no,
    "keep_tokens": _whole,
    "prior_dataset": _text,
    "prior_weight": _number,
    "prior_batch_size": _whole,
    "gradient_checkpointing": _yes_or_no,
    "parent_version": _text,
    "trigger_words": _texts,
    "resolution": _whole,
    "horizontal_flip": _yes_or_no,
    "seed": _whole,
    "save_steps": _whole,
    "precision": _word_of(Precision),
}

KEYS: Final = tuple(_KEYS)
"""All keys that a configuration may hold."""
