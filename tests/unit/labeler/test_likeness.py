"""Near duplicates: which pictures are, and that the bands find all of them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from services.labeler.likeness import MAX_DISTANCE, bands, distance, is_near
from services.labeler.pictures import fingerprint
from tests.fixtures.pictures import encoded, noise

HASHES = st.integers(0, 2**64 - 1)


@given(HASHES, st.sets(st.integers(0, 63), max_size=MAX_DISTANCE))
def test_hashes_that_are_near_share_a_band(value: int, flipped: set[int]) -> None:
    other = value
    for bit in flipped:
        other ^= 1 << bit
    assert distance(value, other) == len(flipped)
    assert any(a == b for a, b in zip(bands(value), bands(other), strict=True))


@given(HASHES)
def test_bands_hold_the_whole_hash(value: int) -> None:
    pieces, at, total = bands(value), 0, 0
    widths = [64 * (index + 1) // len(pieces) - 64 * index // len(pieces) for index in range(len(pieces))]
    for piece, width in zip(pieces, widths, strict=True):
        assert 0 <= piece < 1 << width
        total |= piece << at
        at += width
    assert (total, at) == (value, 64)


@pytest.mark.parametrize("seed", range(6))
def test_slightly_changed_copies_are_near(seed: int) -> None:
    original = noise(seed, 320, 240)
    jpeg = Image.open(io.BytesIO(encoded(original, "JPEG", quality=60))).convert("RGB")
    copies = [
        jpeg,
        original.resize((160, 120), Image.Resampling.LANCZOS),
        ImageEnhance.Brightness(original).enhance(1.02),
    ]
    for copy in copies:
        assert is_near(fingerprint(original), fingerprint(copy))


def test_other_pictures_are_not_near() -> None:
    prints = [fingerprint(noise(seed, 320, 240)) for seed in range(40)]
    assert not [1 for index, one in enumerate(prints) for other in prints[:index] if is_near(one, other)]


@pytest.mark.parametrize("seed", range(4))
def test_the_same_shape_in_other_colours_is_another_picture(seed: int) -> None:
    red, green, blue = noise(seed, 320, 240).split()
    first, other = Image.merge("RGB", (red, green, blue)), Image.merge("RGB", (green, blue, red))
    assert not is_near(fingerprint(first), fingerprint(other))


def test_flat_colours_are_told_apart() -> None:
    white, black = (fingerprint(Image.new("RGB", (64, 64), colour)) for colour in ("white", "black"))
    assert distance(white.perceptual_hash, black.perceptual_hash) == 0
    assert not is_near(white, black)
