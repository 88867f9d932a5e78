"""LoRAs of language models as PEFT's files: what `PeftModel.from_pretrained` reads.

A directory with `adapter_model.safetensors` and `adapter_config.json`. The header of the first holds the
second too, so that the file can go alone through stores and registries.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lorakit.adapter import Adapter, LoraWeights, SavedLora
from lorakit.errors import LoraFormatError
from lorakit.families.naming import LANGUAGE_MODEL, PEFT_PREFIX
from lorakit.peft_config import CONFIG_FILE, METADATA_KEY
from lorakit.safetensors_writer import RawTensor, header_bytes, in_file_order, write_atomically
from lorakit.tensor_bytes import to_raw

WEIGHTS_FILE = "adapter_model.safetensors"


def save_peft(
    adapter: Adapter,
    directory: Path,
    metadata: Mapping[str, str],
    *,
    base_model: str,
    dtype: torch.dtype = torch.float32,
) -> SavedLora:
    """Writes both files, each atomically; describes the one with the weights.

    `base_model` is the name under which others find the base. Equal adapters and metadata give equal bytes.
    Raises LoraFormatError if a weight is not finite, or not in `dtype`, or if there are none; OSError.
    """
    modules = _modules(adapter)
    config = json.dumps(adapter_config(modules, base_model), indent=2, sort_keys=True)
    tensors = in_file_order(_tensors(modules, dtype))
    data = b"".join(tensor.data for tensor in tensors)
    full = {"format": "pt", **metadata, METADATA_KEY: config}
    header = header_bytes(tensors, full)
    sha256 = write_atomically(directory / WEIGHTS_FILE, [header, data])
    write_atomically(directory / CONFIG_FILE, [config.encode()])
    return SavedLora(sha256, len(header) + len(data), hashlib.sha256(data).hexdigest(), full)


def adapter_config(modules: Mapping[str, LoraWeights], base_model: str) -> dict[str, Any]:
    """PEFT's LoraConfig of an adapter; modules whose rank or alpha differs from most are named."""
    rank, alpha = Counter((weights.rank, weights.alpha) for weights in modules.values()).most_common(1)[0][0]
    # PEFT reads the keys of patterns as regular expressions; ^ ties them to the whole path.
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "revision": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "target_modules": sorted(modules),
        "rank_pattern": {f"^{path}": w.rank for path, w in modules.items() if w.rank != rank},
        "alpha_pattern": {f"^{path}": w.alpha for path, w in modules.items() if w.alpha != alpha},
    }


def _modules(adapter: Adapter) -> Mapping[str, LoraWeights]:
    strange = sorted(adapter.components.keys() - {LANGUAGE_MODEL})
    if strange:
        raise LoraFormatError(f"PEFT's files of language models have no place for {', '.join(strange)}")
    modules = adapter.components.get(LANGUAGE_MODEL, {})
    if not modules:
        raise LoraFormatError("the adapter has no modules, there is nothing to write", file=WEIGHTS_FILE)
    return modules


def _tensors(modules: Mapping[str, LoraWeights], dtype: torch.dtype) -> Iterator[RawTensor]:
    for path, weights in modules.items():
        for part, tensor in (("lora_A", weights.down_RD), ("lora_B", weights.up_OR)):
            key, cast = f"{PEFT_PREFIX}{path}.{part}.weight", tensor.detach().to(dtype)
            if not torch.isfinite(cast).all():
                raise LoraFormatError(f"holds numbers that are not finite in {dtype}", key=key)
            yield to_raw(key, cast)
