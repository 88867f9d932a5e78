"""The base model that a worker keeps in memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import torch

from lorakit.errors import BaseModelError
from lorakit.families.detection import CAUSAL_LM
from services.trainer.worker.families import Base, load_any_base
from services.trainer.worker.leases import LeasedJob

BASE_UNAVAILABLE: Final = "BASE_UNAVAILABLE"
"""The files could not be read just now; a later attempt may."""
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")
_PIPELINE_FILES: Final = ("*.json", "*.txt", "*/*.json", "*/*.txt", "*/*.safetensors")
_LANGUAGE_MODEL_FILES: Final = ("*.json", "*.txt", "*.jinja", "*.model", "*.safetensors")


class BaseUnusableError(Exception):
    """The base model cannot be loaded, or is not the one that was registered."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ResidentBase:
    """Holds the base that was used last: the next pack often has the same."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._base: Base | None = None
        self._sha256 = ""

    def load(self, lease: LeasedJob) -> Base:
        """The lease's base, from memory or from its source; BaseUnusableError. Blocks."""
        if self._base is not None and self._sha256 == lease.base_sha256:
            return self._base
        self._base = None  # two bases at once may be more than the device holds
        name = lease.spec.base_model
        try:
            path = _path_of(lease.base_source, lease.base_family)
            base = load_any_base(path, device=self._device)
        except BaseModelError as error:
            raise BaseUnusableError("BASE_UNUSABLE", f"{name} cannot be loaded: {error}") from error
        except OSError as error:
            raise BaseUnusableError(BASE_UNAVAILABLE, f"{name} cannot be read: {error}") from error
        if base.sha256 != lease.base_sha256:
            raise BaseUnusableError(
                "BASE_CHANGED",
                f"the files of {name} have the digest {base.sha256}, the registry knows {lease.base_sha256}",
            )
        if base.family != lease.base_family:
            raise BaseUnusableError(
                "BASE_UNUSABLE",
                f"{name} is registered as a model of the family {lease.base_family}, its files are one of "
                f"{base.family}",
            )
        self._base, self._sha256 = base, base.sha256
        return base


def choose_device(wanted: str) -> str:
    """`auto` made `cuda` or `cpu`."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def _path_of(source: str, family: str) -> Path:
    path = Path(source.removeprefix("file://")).expanduser()
    if path.exists() or not _HUB_ID.match(source):
        return path
    # Imported here: bases in local directories need no hub.
    from huggingface_hub import snapshot_download

    files = _LANGUAGE_MODEL_FILES if family == CAUSAL_LM else _PIPELINE_FILES
    return Path(snapshot_download(source, allow_patterns=list(files)))
