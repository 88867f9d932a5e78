"""The base models that the engine holds: loaded when first asked for, the few used last kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, Protocol, TypeVar

import torch

from lorakit.device_memory import is_out_of_memory, release_unused
from lorakit.errors import BaseModelError
from services.inference.domain_capacity import LoadedBase as HeldBase
from services.inference.domain_jobs import BaseRef
from services.inference.engine.errors import JobError


class Held(Protocol):
    """A base model that is ready for rows."""

    @property
    def source(self) -> str:
        """Where it came from."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of its files."""
        ...

    @property
    def family(self) -> str:
        """Its family's name."""
        ...


B = TypeVar("B", bound=Held)


class HeldBases(Generic[B]):
    """Several threads may ask; one at a time loads, for there may be room for one only."""

    def __init__(self, load: Callable[[str, Path], B], max_bases: int, device: torch.device) -> None:
        """``load`` is given (source, path); it may raise BaseModelError, OSError and ValueError."""
        self._load = load
        self._max_bases = max_bases
        self._device = device
        self._held: OrderedDict[str, B] = OrderedDict()
        self._table = Lock()
        self._loading = Lock()

    def loaded(self, ref: BaseRef) -> B | None:
        """The base of that digest if it is here, now the one used last."""
        with self._table:
            if ref.sha256 in self._held:
                self._held.move_to_end(ref.sha256)
            return self._held.get(ref.sha256)

    def get(self, ref: BaseRef) -> B:
        """The base of that digest, loaded if need be.

        JobError if its files are missing, broken or of another digest.
        """
        found = self.loaded(ref)
        if found is not None:
            return found
        with self._loading:
            return self.loaded(ref) or self._keep(self._load_checked(ref))

    def preload(self, source: str) -> B:
        """Load a base before anyone asks for it. Raises JobError."""
        with self._loading:
            return self._keep(self._loaded_from(source, Path(source).name, source))

    def held(self) -> list[HeldBase]:
        """Each, the one used last at the end."""
        with self._table:
            return [
                HeldBase(sha256=digest, family=base.family, source=base.source)
                for digest, base in self._held.items()
            ]

    def _load_checked(self, ref: BaseRef) -> B:
        base = self._loaded_from(ref.source, ref.name, ref.path or ref.source)
        if base.sha256 != ref.sha256:
            raise JobError(
                f"the files of {ref.name} are not those it was registered with: they have the digest "
                f"{base.sha256}, not {ref.sha256}",
                reason="BASE_MODEL_CHANGED",
                metadata={"base_model": ref.name},
            )
        return base

    def _loaded_from(self, source: str, name: str, path: str) -> B:
        self._make_room()
        try:
            return self._load(source, Path(path))
        except (BaseModelError, OSError, ValueError) as error:
            raise JobError(
                f"the base model {name} cannot be loaded: {error}",
                reason="BASE_MODEL_UNUSABLE",
                metadata={"base_model": name},
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            release_unused(self._device)
            raise JobError(
                f"there is not enough memory for the base model {name}",
                kind="ResourceExhausted",
                reason="BASE_MODEL_TOO_LARGE",
                metadata={"base_model": name},
            ) from error

    def _make_room(self) -> None:
        """Before another one is loaded: so there are never more than there may be."""
        with self._table:
            full = len(self._held) >= self._max_bases
            while len(self._held) >= self._max_bases:
                # Rows in flight keep what they use.
                self._held.popitem(last=False)
        if full:
            release_unused(self._device)

    def _keep(self, base: B) -> B:
        with self._table:
            self._held[base.sha256] = base
        return base
