"""The process that writes stacks into one file: `python -m services.inference.export_worker CONFIGS`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from servicekit.large_imports import large_imports

with large_imports():
    import torch
    from transformers.utils import logging as transformers_logging

    from lorakit.adapter import Adapter, SavedLora, load_adapter, save_kohya
    from lorakit.errors import BaseModelError, LoraFormatError, LoraMismatchError
    from lorakit.families.base_modules import BaseModules, read_base_modules
    from lorakit.families.naming import LANGUAGE_MODEL
    from lorakit.peft_files import WEIGHTS_FILE, save_peft
    from lorakit.stack import combine
    from lorakit.stack_metadata import (
        StackFacts,
        StackPart,
        build_stack_metadata,
        build_text_stack_metadata,
    )
    from servicekit.child_frames import Header, WorkerFaultError, run_worker
    from services.inference.stack_exporter import PRECISION_TOO_SMALL, STACK_EMPTY

_KOHYA_FILE = "stack.safetensors"


def handle(configs: Path | None, question: Header, parts: list[bytes]) -> tuple[Header, Sequence[bytes]]:
    """`{"folder", "title", "precision", "base", "stack"}` -> file, digest, size and family."""
    base = question["base"]
    try:
        modules = read_base_modules(Path(base["path"]), configs=configs)
    except BaseModelError as error:
        raise WorkerFaultError("BASE_MODEL_UNUSABLE", str(error)) from error
    stack_parts = [StackPart(**entry["part"]) for entry in question["stack"]]
    adapters = [
        _read(Path(entry["path"]), part, modules, base["name"])
        for entry, part in zip(question["stack"], stack_parts, strict=True)
    ]
    adapter = _folded(adapters, stack_parts, modules.family)
    facts = StackFacts(
        output_name=question["title"],
        family=modules.family,
        rank=max(weights.rank for _, _, weights in adapter.each()),
        conv_rank=_conv_rank(adapter),
        base_model_name=base["name"],
        base_model_sha256=base["sha256"],
        parts=stack_parts,
        sources=[source.metadata for source in adapters],
    )
    try:
        file, saved = _write(adapter, Path(question["folder"]), facts, getattr(torch, question["precision"]))
    except LoraFormatError as error:
        raise WorkerFaultError(PRECISION_TOO_SMALL, f"cannot hold this stack: {error}") from error
    answer = {
        "file": file,
        "sha256": saved.sha256,
        "size_bytes": saved.size_bytes,
        "family": modules.family,
    }
    return answer, ()


def _read(path: Path, part: StackPart, modules: BaseModules, base: str) -> Adapter:
    try:
        return load_adapter(path, base_modules=modules.shapes, digest=part.sha256)
    except LoraMismatchError as error:
        raise _unusable("LORA_BASE_MISMATCH", part, base, error) from error
    except (LoraFormatError, OSError) as error:
        raise _unusable("LORA_FILE_INVALID", part, base, error) from error


def _unusable(reason: str, part: StackPart, base: str, error: Exception) -> WorkerFaultError:
    return WorkerFaultError(reason, f"{part.reference} cannot be exported for {base}: {error}")


def _folded(adapters: Sequence[Adapter], parts: Sequence[StackPart], family: str) -> Adapter:
    stack = [
        # A language model has one part alone.
        (
            adapter,
            part.weight if LANGUAGE_MODEL in adapter.components else part.text_encoder_weight,
            part.weight,
        )
        for adapter, part in zip(adapters, parts, strict=True)
    ]
    try:
        folded = combine(stack)
    except LoraMismatchError as error:
        raise WorkerFaultError("LORA_BASE_MISMATCH", str(error)) from error
    if not folded.components:
        raise WorkerFaultError(STACK_EMPTY, "has no weight other than 0: there is nothing to write")
    return replace(folded, family=family)


def _conv_rank(adapter: Adapter) -> int | None:
    ranks = [w.rank for _, _, w in adapter.each() if w.down_RD.dim() > 2 and w.down_RD.shape[2:].numel() > 1]
    return max(ranks, default=None)


def _write(adapter: Adapter, folder: Path, facts: StackFacts, dtype: Any) -> tuple[str, SavedLora]:
    if LANGUAGE_MODEL in adapter.components:
        metadata = build_text_stack_metadata(facts)
        saved = save_peft(adapter, folder, metadata, base_model=facts.base_model_name, dtype=dtype)
        return WEIGHTS_FILE, saved
    return _KOHYA_FILE, save_kohya(adapter, folder / _KOHYA_FILE, build_stack_metadata(facts), dtype=dtype)


if __name__ == "__main__":
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(1)
    run_worker(partial(handle, Path(sys.argv[1]) if sys.argv[1] else None))
