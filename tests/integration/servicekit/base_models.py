"""What the tests of base models' files share: a model of a few bytes, and what finds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorakit.base_digest import base_digest, counts
from servicekit.artifacts.open import StoreSettings
from servicekit.base_models.files import BaseModelFiles
from servicekit.base_models.settings import BaseModelSettings
from servicekit.errors import FailedPrecondition

PIPELINE = {
    "model_index.json": b"{}",
    "unet/config.json": b'{"": 1}',
    "unet/diffusion_pytorch_model.safetensors": b"weights" * 1000,
    "tokenizer/merges.txt": b"a b",
}
UNREAD = {
    "README.md": b"a card",
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
    "safety_checker/model.safetensors": b"checks",
    "v1-5-pruned.ckpt": b"a pickle",
    "unet/onnx/deep.json": b"{}",
}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def opened(folder: Path, store: StoreSettings | None = None, **changes: Any) -> BaseModelFiles:
    settings = {
        "cache": folder / "cache",
        "budget_bytes": 1 << 20,
        "store": store or StoreSettings(url="file:///nowhere"),
        "configs": "",
        "tokenizer": "",
    }
    return BaseModelFiles(
        BaseModelSettings(**(settings | changes)),
        digest=base_digest,
        counts=counts,
        tokenizer_repository="acme/clip",
    )


async def refused(files: BaseModelFiles, source: str, digest: str) -> FailedPrecondition:
    with pytest.raises(FailedPrecondition) as raised:
        await files.locate(source, digest)
    return raised.value
