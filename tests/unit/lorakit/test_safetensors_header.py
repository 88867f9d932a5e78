"""The header parser agrees with the safetensors library on good files and refuses every lie."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from lorakit.errors import LoraFormatError
from lorakit.safetensors_header import MAX_HEADER_BYTES, parse_header, read_header

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__")
TORCH_DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int64,
    torch.uint8,
    torch.bool,
]


def file_of(members: Any, data: bytes = b"") -> bytes:
    text = members if isinstance(members, bytes) else json.dumps(members).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@given(
    st.dictionaries(
        NAMES, st.tuples(st.sampled_from(TORCH_DTYPES), st.lists(st.integers(0, 4), max_size=4)), min_size=1
    ),
    st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=3),
)
def test_reads_what_the_library_wrote(
    shapes: dict[str, tuple[torch.dtype, list[int]]], metadata: dict[str, str]
) -> None:
    tensors = {name: torch.zeros(shape, dtype=dtype) for name, (dtype, shape) in shapes.items()}
    content = save(tensors, metadata or None)

    header = parse_header(content, len(content))

    assert {name: entry.shape for name, entry in header.tensors.items()} == {
        name: tuple(value.shape) for name, value in tensors.items()
    }
    assert dict(header.metadata) == metadata
    for name, entry in header.tensors.items():
        assert entry.end - entry.begin == tensors[name].nbytes


def test_reads_a_file_without_its_data(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.arange(4.0), "y": torch.ones(2, 3)}, path, {"note": "hello"})
    header = read_header(path)
    with safe_open(path, "pt") as library:
        assert set(header.tensors) == set(library.keys())
    raw = path.read_bytes()
    entry = header.tensors["x"]
    assert raw[header.data_offset + entry.begin : header.data_offset + entry.end] == (
        torch.arange(4.0).numpy().tobytes()
    )
    assert parse_header(raw[: header.data_offset], len(raw)) == header


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "too few"),
        (b"\x05\0\0", "too few"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (pickle.dumps({"a": 1}), "pickle"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "claims a header"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), "claims a header"),
        ((0).to_bytes(8, "little"), "too few for JSON"),
        ((50).to_bytes(8, "little") + b"{}", "truncated"),
        (file_of(b"[1, 2]"), "does not start"),
        (file_of(b' {"a": 1}'), "does not start"),
        (file_of(b'{"a": '), "not JSON"),
        (file_of(b'{"\xff": 1}'), "not UTF-8"),
        (file_of(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested too deeply"),
        (file_of(b'{"a":' + b"9" * 10_000 + b"}"), "not JSON"),
        (file_of(b'{"a": NaN}'), "not JSON"),
        (file_of({"__metadata__": {"a": 1}}), "not a string"),
        (file_of({"__metadata__": []}), "object of strings"),
        (file_of({"x" * 1025: tensor()}, bytes(8)), "more than 1024"),
        (file_of({"x": 3}), "needs exactly"),
        (file_of({"x": {"dtype": "F32", "shape": [2]}}), "needs exactly"),
        (file_of({"x": {**tensor(), "more": 1}}, bytes(8)), "needs exactly"),
        (file_of({"x": tensor(dtype="F33")}, bytes(8)), "unknown dtype"),
        (file_of({"x": tensor(dtype=7)}, bytes(8)), "unknown dtype"),
        (file_of({"x": tensor(shape=[-2])}, bytes(8)), "shape"),
        (file_of({"x": tensor(shape=[True, 2])}, bytes(8)), "shape"),
        (file_of({"x": tensor(shape=[2.0])}, bytes(8)), "shape"),
        (file_of({"x": tensor(shape=[1] * 9)}, bytes(8)), "shape"),
        (file_of({"x": tensor(offsets=[-8, 0])}, bytes(8)), "positions"),
        (file_of({"x": tensor(offsets=[0])}, bytes(8)), "positions"),
        (file_of({"x": tensor(offsets=[8, 0])}, bytes(8)), "takes 8 bytes"),
        (file_of({"x": tensor(shape=[3])}, bytes(8)), "takes 12 bytes"),
        (file_of({"x": tensor(shape=[2**62, 2**62])}, bytes(8)), "takes"),
        (file_of({"x": tensor()}, bytes(7)), "truncated, or a lying header"),
        (file_of({"x": tensor(offsets=[8, 16])}, bytes(16)), "hole"),
        (file_of({"x": tensor(), "y": tensor(offsets=[4, 12])}, bytes(12)), "overlaps"),
        (file_of({"x": tensor(), "y": tensor()}, bytes(8)), "overlaps"),
        (file_of({"x": tensor()}, bytes(9)), "belong to none"),
        (file_of(b'{"x": ' + json.dumps(tensor()).encode() + b', "x": {}}', bytes(8)), "twice"),
    ],
)  # fmt: skip
def test_refuses_a_header_that_lies(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(LoraFormatError, match=words) as caught:
        read_header(path)
    assert caught.value.file == "bad.safetensors"
    assert len(str(caught.value)) < 1000


@given(st.binary(max_size=200), st.integers(0, 200))
def test_arbitrary_bytes_raise_nothing_else(body: bytes, length: int) -> None:
    for content in (body, length.to_bytes(8, "little") + body, file_of(b'{"' + body + b'":{}}')):
        try:
            parse_header(content, len(content))
        except LoraFormatError:
            continue


@given(st.data())
def test_a_changed_byte_is_refused_or_read_as_the_library_does(data: st.DataObject) -> None:
    content = bytearray(save({"aa": torch.ones(2, 2), "b": torch.ones(3, dtype=torch.float16)}))
    size = 8 + int.from_bytes(content[:8], "little")
    content[data.draw(st.integers(0, size - 1))] = data.draw(st.integers(0, 255))
    try:
        header = parse_header(bytes(content), len(content))
    except LoraFormatError:
        return
    from safetensors.torch import load

    try:
        library = load(bytes(content))
    except SafetensorError:
        # The library refuses a few spellings of sound JSON (escapes) that change nothing.
        return
    assert set(library) == set(header.tensors)
