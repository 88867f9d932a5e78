"""Stacks of language models' LoRA files as single adapters, kept in memory by digest."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lorakit.adapter import Adapter, LoraWeights, load_adapter
from lorakit.errors import LoraFormatError, LoraMismatchError
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.routing import RowAdapter
from lorakit.stack import combine
from services.inference.domain_capacity import CacheUsage
from services.inference.domain_jobs import LoraFile
from services.inference.engine.byte_cache import ByteCache
from services.inference.engine.errors import JobError
from services.inference.engine.text_bases import TextBase

READERS = 16
FOLDED_PART = 4
"""A folded stack is quickly made again from its files: they get three quarters of the budget."""


class TextStacks:
    """Reads each file once, folds each stack once, and keeps both within a budget of bytes. Several threads
    may ask.
    """

    def __init__(self, budget_bytes: int) -> None:
        folded_bytes = budget_bytes // FOLDED_PART
        self._files: ByteCache[tuple[str, str], Adapter] = ByteCache(
            "text_memory", budget_bytes - folded_bytes
        )
        self._folded: ByteCache[tuple[object, ...], Adapter] = ByteCache("text_device", folded_bytes)
        self._reading = [threading.Lock() for _ in range(READERS)]
        """A file belongs to one of them: whoever else wants it while it is read waits, most others do not."""

    def usage(self) -> tuple[CacheUsage, CacheUsage]:
        """Of files, and of folded stacks."""
        return self._files.usage(), self._folded.usage()

    def fold(self, loras: Sequence[LoraFile], base: TextBase) -> RowAdapter | None:
        """The stack's adapter for a base, None if it changes nothing; JobError naming the LoRA that cannot be
        used.
        """
        weights = _add_up(loras)
        # Every file is looked at, one with the weight 0 too: what is wrong with it is not to depend on that.
        files = {lora.sha256: self._load(lora, base) for lora in loras}
        key = (base.sha256, *sorted(weights.items()))
        folded = self._folded.get(key)
        if folded is None:
            parts = [(files[sha256], weight) for sha256, weight in weights.items()]
            folded = _on_device(_combine(loras, parts), base)
            self._folded.put(key, folded, folded.nbytes)
        modules = folded.components.get(LANGUAGE_MODEL)
        return RowAdapter(key, modules) if modules else None

    def _load(self, lora: LoraFile, base: TextBase) -> Adapter:
        key = (base.sha256, lora.sha256)
        with self._reading[hash(key) % READERS]:
            adapter = self._files.get(key)
            if adapter is None:
                adapter = _read(lora, base)
                self._files.put(key, adapter, adapter.nbytes)
        return adapter


def _add_up(loras: Sequence[LoraFile]) -> dict[str, float]:
    """Digest -> weight; a file named twice counts once, with the sum of its weights."""
    weights: dict[str, float] = {}
    for lora in loras:
        weights[lora.sha256] = weights.get(lora.sha256, 0.0) + lora.weight
    return weights


def _read(lora: LoraFile, base: TextBase) -> Adapter:
    try:
        return load_adapter(Path(lora.path), base_modules=base.modules, digest=lora.sha256)
    except LoraMismatchError as error:
        raise _unusable(lora.reference, "LORA_BASE_MISMATCH", error) from error
    except (LoraFormatError, OSError) as error:
        raise _unusable(lora.reference, "LORA_FILE_INVALID", error) from error


def _combine(loras: Sequence[LoraFile], parts: Sequence[tuple[Adapter, float]]) -> Adapter:
    try:
        return combine([(adapter, weight, weight) for adapter, weight in parts])
    except LoraMismatchError as error:
        raise _unusable(", ".join(lora.reference for lora in loras), "LORA_BASE_MISMATCH", error) from error


def _on_device(adapter: Adapter, base: TextBase) -> Adapter:
    """Folded in float32, kept as the rows will use it."""
    device, dtype = base.device, base.language.model.dtype
    modules = {
        path: LoraWeights(weights.down_RD.to(device, dtype), weights.up_OR.to(device, dtype), weights.alpha)
        for path, weights in adapter.components.get(LANGUAGE_MODEL, {}).items()
    }
    return replace(adapter, components={LANGUAGE_MODEL: modules})


def _unusable(reference: str, reason: str, error: Exception) -> JobError:
    return JobError(
        f"{reference} cannot be used with this base model: {error}",
        reason=reason,
        metadata={"reference": reference},
    )
