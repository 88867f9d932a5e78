"""Stacks of LoRA files as single adapters: files in the host's memory, folded stacks on the device."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch

from lorakit.adapter import Adapter, LoraWeights, load_adapter
from lorakit.errors import LoraFormatError, LoraMismatchError
from lorakit.families.naming import UNET
from lorakit.module_shape import Component
from lorakit.routing import RowAdapter
from lorakit.stack import combine, weigh
from services.inference.domain_capacity import CacheUsage
from services.inference.domain_jobs import LoraFile
from services.inference.engine.bases import LoadedBase
from services.inference.engine.byte_cache import ByteCache
from services.inference.engine.errors import JobError


@dataclass(frozen=True, slots=True)
class FoldedStack:
    """One adapter for each component of the base that the stack changes."""

    adapters: Mapping[Component, RowAdapter]
    nbytes: int = 0

    @property
    def unet(self) -> RowAdapter | None:
        """The denoising model's."""
        return self.adapters.get(UNET)

    @property
    def text_encoders(self) -> Mapping[Component, RowAdapter]:
        """Those of the text encoders."""
        return {component: adapter for component, adapter in self.adapters.items() if component != UNET}


_Folded: TypeAlias = list[list[FoldedStack]]
_NO_STACK = FoldedStack({})
PINNED_PART = 0.5
"""Of each budget, at most: the rest is for stacks that nobody has pinned."""


class Stacks:
    """Reads each file once and folds each stack once, and keeps both within budgets of bytes."""

    def __init__(self, memory_bytes: int, device_bytes: int) -> None:
        self._files: ByteCache[tuple[str, str], Adapter] = ByteCache("memory", memory_bytes)
        self._folded: ByteCache[tuple[object, ...], Adapter] = ByteCache("device", device_bytes)

    def usage(self) -> tuple[CacheUsage, CacheUsage]:
        """Of files, and of folded stacks."""
        return self._files.usage(), self._folded.usage()

    def fold(self, loras: Sequence[LoraFile], base: LoadedBase) -> FoldedStack:
        """The stack's adapters for a base; JobError naming the LoRA that cannot be used."""
        if not loras:
            return _NO_STACK
        key = _stack_key(loras, base)
        folded = self._folded.get(key)
        if folded is None:
            folded = _on_device(self._combine(loras, base), base)
            self._folded.put(key, folded, folded.nbytes)
        # The text encoders' key leaves the UNet's weights out: embeddings stay cached while those are tried.
        text_key = (base.model.sha256, *sorted((lora.sha256, lora.text_encoder_weight) for lora in loras))
        return FoldedStack(
            {
                component: RowAdapter(key if component == UNET else text_key, modules)
                for component, modules in folded.components.items()
            },
            folded.nbytes,
        )

    def fold_each(self, lines: Sequence[Sequence[Sequence[LoraFile]]], base: LoadedBase) -> _Folded:
        """The same for a job with several stacks, which stay on the device until it has ended: JobError if
        they take more than all stacks that are kept may.
        """
        sizes: dict[Hashable, int] = {}
        folded: _Folded = []
        for line in lines:
            folded.append([])
            for loras in line:
                stack = self.fold(loras, base)
                folded[-1].append(stack)
                sizes[_stack_key(loras, base)] = stack.nbytes
                self._require_room(sizes.values())
        return folded

    def _require_room(self, sizes: Collection[int]) -> None:
        budget = self._folded.usage().budget_bytes
        if len(sizes) > 1 and sum(sizes) > budget:
            raise JobError(
                f"the stacks of this picture's steps and regions together take over {budget >> 20} MiB; ask "
                "for fewer or smaller LoRAs that come, go or take turns",
                kind="ResourceExhausted",
                reason="STACKS_TOO_LARGE",
            )

    def pin(self, owner: str, loras: Sequence[LoraFile], base: LoadedBase) -> None:
        """Fold a stack, and keep it and its files until the owner unpins all that is its own.

        JobError when it cannot be used, or when pins would take too much from those who have none.
        """
        if not loras:
            return
        files, folded = [(base.model.sha256, lora.sha256) for lora in loras], [_stack_key(loras, base)]
        self._files.pin(owner, files)
        self._folded.pin(owner, folded)
        for lora in loras:  # each, also where a folded stack is there already
            self._load(lora, base)
        self.fold(loras, base)
        kept = self._files.holds(files) and self._folded.holds(folded)
        if not kept or max(self._files.pinned_part, self._folded.pinned_part) > PINNED_PART:
            raise JobError(
                "pinned stacks would take too much of the memory for LoRAs",
                kind="ResourceExhausted",
                reason="PINS_TOO_LARGE",
            )

    def unpin(self, owner: str) -> None:
        """What the owner has pinned may make room for others again."""
        self._files.unpin(owner)
        self._folded.unpin(owner)

    def _load(self, lora: LoraFile, base: LoadedBase) -> Adapter:
        key = (base.model.sha256, lora.sha256)
        adapter = self._files.get(key)
        if adapter is None:
            adapter = _read(lora, base)
            self._files.put(key, adapter, adapter.nbytes)
        return adapter

    def _combine(self, loras: Sequence[LoraFile], base: LoadedBase) -> Adapter:
        stack = [(self._load(lora, base), lora.text_encoder_weight, lora.weight) for lora in loras]
        if len(stack) == 1:
            # Nothing to fold: the rows' buffers are filled from the file's own tensors.
            return weigh(*stack[0])
        try:
            return combine(stack)
        except LoraMismatchError as error:
            raise _unusable(
                ", ".join(lora.reference for lora in loras), "LORA_BASE_MISMATCH", error
            ) from error


def _stack_key(loras: Sequence[LoraFile], base: LoadedBase) -> tuple[object, ...]:
    parts = sorted((lora.sha256, lora.text_encoder_weight, lora.weight) for lora in loras)
    return (base.model.sha256, *parts)


def _on_device(adapter: Adapter, base: LoadedBase) -> Adapter:
    """As the rows will use it."""
    device, dtype = base.model.device, base.dtype
    components = {
        component: {path: _placed(weights, device, dtype) for path, weights in modules.items()}
        for component, modules in adapter.components.items()
    }
    return replace(adapter, components=components)


def _placed(weights: LoraWeights, device: torch.device, dtype: torch.dtype) -> LoraWeights:
    """On the device; folded weights in the rows' dtype, a file's own as they are: rows scale them in float32
    first, and round once.
    """
    folded = weights.scale == 1.0 and weights.up_OR.dtype == torch.float32
    wanted = dtype if folded else weights.up_OR.dtype
    return LoraWeights(weights.down_RD.to(device, wanted), weights.up_OR.to(device, wanted), weights.alpha)


def _read(lora: LoraFile, base: LoadedBase) -> Adapter:
    try:
        return load_adapter(Path(lora.path), base_modules=base.shapes, digest=lora.sha256)
    except LoraMismatchError as error:
        raise _unusable(lora.reference, "LORA_BASE_MISMATCH", error) from error
    except (LoraFormatError, OSError) as error:
        raise _unusable(lora.reference, "LORA_FILE_INVALID", error) from error


def _unusable(reference: str, reason: str, error: Exception) -> JobError:
    return JobError(
        f"{reference} cannot be used with this base model: {error}",
        reason=reason,
        metadata={"reference": reference},
    )
