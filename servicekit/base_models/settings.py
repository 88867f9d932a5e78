"""How the files of base models are found; the same variables for every service that loads any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servicekit.artifacts.open import StoreSettings
from servicekit.settings import Settings

_CONFIGS: Final = "BRANDLOOM_SINGLE_FILE_CONFIGS"
_TOKENIZER: Final = "BRANDLOOM_CLIP_TOKENIZER"
_GIB: Final = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModelSettings:
    """Where base models come from and are kept."""

    cache: Path
    """Folder of what was fetched from S3"""
    budget_bytes: int
    """Most bytes in that folder, and most that one model may bring from S3 or the hub"""
    store: StoreSettings
    """Its S3 fields are for s3:// sources too, whatever their bucket"""
    configs: str
    """Pipeline directory whose configurations and tokenizer single-file checkpoints get; empty: worked out"""
    tokenizer: str
    """Folder or file of CLIP's tokenizer, for single-file checkpoints; empty: the hub's cache"""


def read_base_model_settings(reader: Settings, home: Path, store: StoreSettings) -> BaseModelSettings:
    """Faults go to the reader."""
    return BaseModelSettings(
        cache=reader.path("BRANDLOOM_BASE_MODEL_CACHE", home / "cache" / "base-models"),
        budget_bytes=_GIB * reader.integer("BRANDLOOM_BASE_MODEL_CACHE_GIB", 64, minimum=1),
        store=store,
        configs=_existing(reader, _CONFIGS, reader.text("BRANDLOOM_SINGLE_FILE_CONFIGS", "")),
        tokenizer=_existing(reader, _TOKENIZER, reader.text("BRANDLOOM_CLIP_TOKENIZER", "")),
    )


def _existing(reader: Settings, name: str, value: str) -> str:
    if not value:
        return ""
    path = Path(value).expanduser().absolute()
    if not path.exists():
        reader.fault(name, f"must be a path that exists, not {value!r}")
    return str(path)
