"""The base model that a worker keeps in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import torch

from lorakit.base_digest import base_digest, counts
from lorakit.errors import BaseModelError
from lorakit.families.sd15_configs import TOKENIZER_REPOSITORY
from servicekit.base_models.faults import CHANGED
from servicekit.base_models.files import BaseModelFiles
from servicekit.base_models.settings import BaseModelSettings
from servicekit.errors import FailedPrecondition, ServiceError
from services.trainer.worker.engine_thread import EngineThread
from services.trainer.worker.families import Base, load_any_base
from services.trainer.worker.leases import LeasedJob

BASE_UNAVAILABLE: Final = "BASE_UNAVAILABLE"
"""The files could not be read just now; a later attempt may."""
BASE_UNUSABLE: Final = "BASE_UNUSABLE"
BASE_CHANGED: Final = "BASE_CHANGED"


class BaseUnusableError(Exception):
    """The base model cannot be loaded, or is not the one that was registered."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ResidentBase:
    """Holds the base that was used last: the next pack often has the same."""

    def __init__(self, settings: BaseModelSettings, engine: EngineThread, device: str) -> None:
        self._engine = engine
        self._files = BaseModelFiles(
            settings, digest=base_digest, counts=counts, tokenizer_repository=TOKENIZER_REPOSITORY
        )
        self._read = partial(
            load_any_base,
            device=device,
            configs=Path(settings.configs) if settings.configs else None,
            tokenizer=Path(settings.tokenizer) if settings.tokenizer else None,
        )
        self._base: Base | None = None

    async def load(self, lease: LeasedJob) -> Base:
        """The lease's base, from memory or from its source; BaseUnusableError."""
        if self._base is not None and self._base.sha256 == lease.base_sha256:
            return self._base
        name = lease.spec.base_model
        try:
            path = await self._files.locate(lease.base_source, lease.base_sha256)
        except FailedPrecondition as error:
            reason = BASE_CHANGED if error.reason == CHANGED else BASE_UNUSABLE
            raise BaseUnusableError(reason, f"{name} cannot be used: {error.message}") from error
        except ServiceError as error:
            raise BaseUnusableError(BASE_UNAVAILABLE, f"{name} cannot be read: {error.message}") from error
        self._base = await self._engine.run(partial(self._load, path, lease))
        return self._base

    def _load(self, path: Path, lease: LeasedJob) -> Base:
        self._base = None  # two bases at once may be more than the device holds
        name = lease.spec.base_model
        try:
            base = self._read(path)
        except BaseModelError as error:
            raise BaseUnusableError(BASE_UNUSABLE, f"{name} cannot be loaded: {error}") from error
        except OSError as error:
            raise BaseUnusableError(BASE_UNAVAILABLE, f"{name} cannot be read: {error}") from error
        if base.sha256 != lease.base_sha256:
            raise BaseUnusableError(
                BASE_CHANGED,
                f"the files of {name} have the digest {base.sha256}, the registry knows {lease.base_sha256}",
            )
        if base.family != lease.base_family:
            raise BaseUnusableError(
                BASE_UNUSABLE,
                f"{name} is registered as a model of the family {lease.base_family}, its files are one of "
                f"{base.family}",
            )
        return base


def choose_device(wanted: str) -> str:
    """`auto` made `cuda` or `cpu`."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
