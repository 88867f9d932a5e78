"""The tensors of a safetensors file, read at once: one buffer, of which every tensor is a view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorakit.errors import LoraFormatError
from lorakit.safetensors_header import SafetensorsHeader, TensorEntry
from lorakit.tensor_bytes import TORCH_DTYPES


def read_tensors(path: Path, header: SafetensorsHeader) -> dict[str, Tensor]:
    """Every tensor by its name, on the CPU in the file's dtype; all of them live as long as one does.

    Raises LoraFormatError if the file has become shorter than its header says, holds a dtype that is not read
    or a number that is not finite; the tensor is named.
    """
    entries = header.tensors.values()
    for entry in entries:
        if entry.dtype not in TORCH_DTYPES:
            raise LoraFormatError(f"tensors of {entry.dtype} are not read", file=path.name, key=entry.name)
    # Not zeroed first, as a bytearray would be.
    data = torch.empty(header.total_size - header.data_offset, dtype=torch.uint8)
    buffer: Any = data.numpy()  # which is one, though Python 3.11 has no type for it
    with path.open("rb") as stream:
        stream.seek(header.data_offset)
        if stream.readinto(buffer) != len(data):
            raise LoraFormatError("is truncated", file=path.name)
    return dict(_views(data, entries, path.name))


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; far cheaper than `isfinite`, for it is NaN or infinite only if an end is."""
    if not tensor.numel() or not tensor.is_floating_point():
        return True
    return all(math.isfinite(end) for end in tensor.aminmax())


def _views(data: Tensor, entries: Iterable[TensorEntry], file: str) -> Iterator[tuple[str, Tensor]]:
    # Tensors follow each other without holes, those of one dtype mostly together.
    for dtype, group in groupby(entries, key=lambda entry: entry.dtype):
        run = list(group)
        part = data[run[0].begin : run[-1].end]
        if run[0].begin % TORCH_DTYPES[dtype].itemsize:
            part = part.clone()  # a view must begin where its dtype may
        numbers = part.view(TORCH_DTYPES[dtype])
        pieces = numbers.split([math.prod(entry.shape) for entry in run])
        if not is_finite(numbers):
            name = next(e.name for e, piece in zip(run, pieces, strict=True) if not is_finite(piece))
            raise LoraFormatError("holds numbers that are not finite", file=file, key=name)
        for entry, piece in zip(run, pieces, strict=True):
            yield entry.name, piece.view(entry.shape)
