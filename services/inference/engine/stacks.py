"""Stacks of LoRA files as single adapters, kept in memory by digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorakit.adapter import Adapter, LoraWeights, load_adapter
from lorakit.errors import LoraFormatError, LoraMismatchError
from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.hashes import model_hash
from lorakit.module_shape import Component
from lorakit.routing import RowAdapter
from lorakit.stack import combine
from services.inference.domain_capacity import CacheUsage
from services.inference.domain_jobs import LoraFile
from services.inference.engine.bases import LoadedBase
from services.inference.engine.byte_cache import ByteCache
from services.inference.engine.errors import JobError


@dataclass(frozen=True, slots=True)
class KeptLora:
    """A file's weights and the hash by which pictures name it."""

    adapter: Adapter
    model_hash: str


@dataclass(frozen=True, slots=True)
class FoldedStack:
    """One adapter for each component of the base that the stack changes."""

    unet: RowAdapter | None
    text_encoder: RowAdapter | None
    model_hashes: tuple[str, ...]


FOLDED_PART = 4
"""A folded stack is quickly made again from its files: they get three quarters of the budget."""


class Stacks:
    """Loads each file once, folds each stack once; both are let go by one byte budget."""

    def __init__(self, budget_bytes: int) -> None:
        folded_bytes = budget_bytes // FOLDED_PART
        self._files: ByteCache[tuple[str, str], KeptLora] = ByteCache("memory", budget_bytes - folded_bytes)
        self._folded: ByteCache[tuple[object, ...], Adapter] = ByteCache("memory", folded_bytes)

    @property
    def files(self) -> ByteCache[tuple[str, str], KeptLora]:
        """The cache of files."""
        return self._files

    def usage(self) -> CacheUsage:
        """Bytes of files and folded stacks; hits and misses are those of files."""
        files, folded = self._files, self._folded
        return CacheUsage(
            level="memory",
            used_bytes=files.used_bytes + folded.used_bytes,
            budget_bytes=files.budget_bytes + folded.budget_bytes,
            hits=files.hits,
            misses=files.misses,
        )

    def fold(self, loras: Sequence[LoraFile], base: LoadedBase) -> FoldedStack:
        """The stack's adapters for a base; JobError naming the LoRA that cannot be used."""
        if not loras:
            return FoldedStack(None, None, ())
        kept = [self._load(lora, base) for lora in loras]
        parts = tuple(sorted((lora.sha256, lora.text_encoder_weight, lora.weight) for lora in loras))
        key = (base.model.sha256, *parts)
        folded = self._folded.get(key)
        if folded is None:
            folded = self._combine(loras, kept)
            self._folded.put(key, folded, folded.nbytes)
        # The text encoder's key leaves the UNet's weights out: embeddings stay cached while those are tried.
        text_key = (base.model.sha256, *sorted((lora.sha256, lora.text_encoder_weight) for lora in loras))
        return FoldedStack(
            _row_adapter(folded, UNET, key),
            _row_adapter(folded, TEXT_ENCODER, text_key),
            tuple(entry.model_hash for entry in kept),
        )

    def _load(self, lora: LoraFile, base: LoadedBase) -> KeptLora:
        key = (base.model.sha256, lora.sha256)
        kept = self._files.get(key)
        if kept is None:
            kept = _read(lora, base)
            self._files.put(key, kept, kept.adapter.nbytes)
        return kept

    @staticmethod
    def _combine(loras: Sequence[LoraFile], kept: Sequence[KeptLora]) -> Adapter:
        stack = [
            (entry.adapter, lora.text_encoder_weight, lora.weight)
            for lora, entry in zip(loras, kept, strict=True)
        ]
        try:
            return combine(stack)
        except LoraMismatchError as error:
            raise _unusable(
                ", ".join(lora.reference for lora in loras), "LORA_BASE_MISMATCH", error
            ) from error


def _read(lora: LoraFile, base: LoadedBase) -> KeptLora:
    path = Path(lora.path)
    try:
        adapter = load_adapter(path, base_modules=base.shapes, digest=lora.sha256)
        # Computed, not taken from the metadata: whoever made the file could have written anything there.
        digest = model_hash(path)
    except LoraMismatchError as error:
        raise _unusable(lora.reference, "LORA_BASE_MISMATCH", error) from error
    except (LoraFormatError, OSError) as error:
        raise _unusable(lora.reference, "LORA_FILE_INVALID", error) from error
    for component, module_path, weights in adapter.each():
        if weights.down_RD.dim() > 2 and tuple(weights.down_RD.shape[2:]) != (1, 1):
            raise JobError(
                f"{lora.reference} adapts the convolution {component}.{module_path} with a kernel of "
                f"{list(weights.down_RD.shape[2:])}; only Linears and 1x1 convolutions can be stacked",
                reason="LORA_KIND_UNSUPPORTED",
                metadata={"reference": lora.reference, "sha256": lora.sha256},
            )
    return KeptLora(adapter, digest)


def _unusable(reference: str, reason: str, error: Exception) -> JobError:
    return JobError(
        f"{reference} cannot be used with this base model: {error}",
        reason=reason,
        metadata={"reference": reference},
    )


def _row_adapter(adapter: Adapter, component: Component, key: tuple[object, ...]) -> RowAdapter | None:
    modules: Mapping[str, LoraWeights] | None = adapter.components.get(component)
    return RowAdapter(key, modules) if modules else None
