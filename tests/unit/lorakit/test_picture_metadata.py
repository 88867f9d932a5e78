"""The text that generated pictures carry."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lorakit.errors import PictureMetadataError
from lorakit.picture_metadata import (
    Infotext,
    embed_png,
    format_infotext,
    format_record,
    lora_hashes,
    parse_infotext,
    parse_record,
    read_png,
)

# One line of visible text that is no "Negative prompt:" line and has no pairs that look like parameters.
LINES = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters=":") | st.just(" "), min_size=1
)
PROMPTS = st.lists(LINES.map(str.strip).filter(bool), max_size=3).map("\n".join)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z -/]{0,8}[A-Za-z]", fullmatch=True).filter(
    lambda name: all(mark not in name for mark in ",.+*'()&%$#\"!")
)


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(stream, "PNG")
    return stream.getvalue()


@given(PROMPTS, PROMPTS, st.dictionaries(NAMES, VALUES, min_size=3, max_size=8))
def test_infotext_round_trip(prompt: str, negative: str, parameters: dict[str, str]) -> None:
    info = Infotext(prompt, negative, parameters)
    assert parse_infotext(format_infotext(info)) == info


def test_infotext_as_a1111_writes_it() -> None:
    text = (
        "a cat, <lora:hero:0.6>\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7.0, Seed: 5, Size: 512x512, "
        'Model hash: 6ce0161689, Model: v1-5, Lora hashes: "hero: 0123456789ab, b: ffffffffffff", Version: 1'
    )
    info = parse_infotext(text)
    assert info.prompt == "a cat, <lora:hero:0.6>"
    assert info.negative_prompt == "blurry"
    assert info.parameters["Size"] == "512x512"
    assert info.parameters["Lora hashes"] == lora_hashes({"hero": "0123456789abcdef", "b": "f" * 64})
    assert format_infotext(info) == text


def test_hostile_text_takes_no_long_time() -> None:
    for text in ("a" * 90_000, "aa: " * 20_000, 'aa:"' * 20_000, "a" * 3_000_000):
        parse_infotext(text)


def test_a_last_line_of_few_pairs_is_prompt() -> None:
    assert parse_infotext("a cat\nred: yes, blue: no") == Infotext("a cat\nred: yes, blue: no")


@pytest.mark.parametrize("name", ["", "a", "x:y", "a,b", " ab", "ab "])
def test_a_name_that_would_not_come_back_is_refused(name: str) -> None:
    with pytest.raises(PictureMetadataError, match="name of a parameter"):
        format_infotext(Infotext("", "", {name: "1"}))


@given(
    st.dictionaries(
        st.sampled_from(["parameters", "brandloom", "other"]), VALUES.map(lambda t: t.replace("\0", ""))
    )
)
def test_png_chunks_round_trip(texts: dict[str, str]) -> None:
    embedded = embed_png(png(), texts)
    assert read_png(embedded) == texts
    picture = Image.open(io.BytesIO(embedded))
    picture.load()
    assert {key: str(value) for key, value in picture.info.items()} == texts


def test_chunks_are_replaced_and_others_kept() -> None:
    once = embed_png(png(), {"parameters": "old", "other": "x"})
    assert read_png(embed_png(once, {"parameters": "new \u732b"})) == {
        "parameters": "new \u732b",
        "other": "x",
    }


def test_reads_what_pillow_wrote() -> None:
    info = PngInfo()
    info.add_text("a", "plain")
    info.add_text("b", "packed", zip=True)
    info.add_itxt("c", "\u732b", lang="en", tkey="c", zip=True)
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG", pnginfo=info)
    assert read_png(stream.getvalue()) == {"a": "plain", "b": "packed", "c": "\u732b"}


def test_bad_files_are_refused() -> None:
    with pytest.raises(PictureMetadataError, match="no PNG"):
        read_png(b"GIF89a")
    with pytest.raises(PictureMetadataError, match="truncated"):
        read_png(png()[:-5])
    with pytest.raises(PictureMetadataError, match="key of a PNG"):
        embed_png(png(), {"": "x"})
    bomb = zlib.compress(bytes(20_000_000))
    body = b"a\0\0" + bomb
    chunk = len(body).to_bytes(4, "big") + b"zTXt" + body + zlib.crc32(b"zTXt" + body).to_bytes(4, "big")
    with pytest.raises(PictureMetadataError, match="more than"):
        read_png(png()[:33] + chunk + png()[33:])


def test_record_is_exact() -> None:
    record = {"prompt": "Negative prompt: \u732b\nSteps: 1, a: b, c: d", "stack": [{"weight": 0.1}]}
    assert parse_record(format_record(record)) == record
    with pytest.raises(PictureMetadataError, match="JSON"):
        format_record({"x": float("nan")})
    with pytest.raises(PictureMetadataError, match="not a JSON object"):
        parse_record("[1]")
    with pytest.raises(PictureMetadataError, match="not JSON"):
        parse_record("[" * 100_000)
