"""Tensors read at once: views of one buffer, checked as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lorakit.errors import LoraFormatError
from lorakit.safetensors_header import read_header
from lorakit.safetensors_writer import RawTensor, header_bytes
from lorakit.tensor_bytes import to_raw
from lorakit.tensor_file import is_finite, read_tensors

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def write(path: Path, tensors: list[RawTensor]) -> Path:
    """A file with the tensors in this order, whatever their alignment."""
    path.write_bytes(header_bytes(tensors, {}) + b"".join(tensor.data for tensor in tensors))
    return path


def test_tensors_come_back_whatever_their_alignment(tmp_path: Path) -> None:
    wanted = {
        "a": torch.randn(3, dtype=torch.float16),
        "b": torch.randn(2, 2),
        "c": torch.randn(1, dtype=torch.bfloat16),
        "d": torch.tensor(2.5, dtype=torch.float64),
        "e": torch.tensor([7]),
    }
    path = write(tmp_path / "x.safetensors", [to_raw(name, tensor) for name, tensor in wanted.items()])
    found = read_tensors(path, read_header(path))
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_number_that_is_not_finite_is_found_and_named(
    tmp_path: Path, dtype: torch.dtype, value: float
) -> None:
    bad = torch.zeros(1000, dtype=dtype)
    bad[617] = value
    assert not is_finite(bad)
    tensors = [to_raw("good", torch.ones(4, dtype=dtype)), to_raw("bad", bad)]
    path = write(tmp_path / "x.safetensors", tensors)
    with pytest.raises(LoraFormatError, match=r"bad.*not finite"):
        read_tensors(path, read_header(path))


def test_numbers_at_the_ends_of_a_dtype_are_finite() -> None:
    for dtype in DTYPES:
        ends = torch.tensor([torch.finfo(dtype).min, torch.finfo(dtype).max], dtype=dtype)
        assert is_finite(ends)
    assert is_finite(torch.tensor([1, 2]))
    assert is_finite(torch.empty(0))


def test_a_file_that_has_become_shorter_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", [to_raw("a", torch.ones(64))])
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LoraFormatError, match="truncated"):
        read_tensors(path, header)
