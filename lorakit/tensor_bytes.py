"""Torch tensors to and from the bytes that safetensors files hold."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from lorakit.errors import LoraFormatError
from lorakit.safetensors_writer import RawTensor

TORCH_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F32": torch.float32,
        "F64": torch.float64,
        "U8": torch.uint8,
        "I32": torch.int32,
        "I64": torch.int64,
    }
)
_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


def to_raw(name: str, tensor: Tensor) -> RawTensor:
    """The tensor's bytes, from whichever device it is on. Raises LoraFormatError for a dtype not listed."""
    if tensor.dtype not in _NAMES:
        raise LoraFormatError(f"tensors of {tensor.dtype} are not written", key=name)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return RawTensor(
        name, _NAMES[tensor.dtype], tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes()
    )


def from_raw(data: bytes, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A CPU tensor that owns its memory; `data` has as many bytes as dtype and shape need."""
    if not data:
        return torch.empty(shape, dtype=TORCH_DTYPES[dtype])
    return torch.frombuffer(bytearray(data), dtype=TORCH_DTYPES[dtype]).reshape(shape)
