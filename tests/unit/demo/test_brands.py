"""The brands' picture sets: enough pictures, without captions, all different, the same at every run."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.brands import BRANDS, HELD_OUT_COUNT, TRAIN_COUNT, write_brand
from demo.brands.sets import brand_picture
from demo.recipe.words import grammar_words
from demo.world.grammar import parse_caption


def test_there_is_a_character_a_style_and_a_place():
    assert [b.kind for b in BRANDS.values()] == ["character", "style", "place"]
    assert TRAIN_COUNT >= 24
    assert HELD_OUT_COUNT >= 12


@pytest.mark.parametrize("name", BRANDS)
def test_a_set_is_png_files_without_captions_and_without_repeats(name: str, tmp_path: Path):
    files = write_brand(BRANDS[name], tmp_path)
    assert len(files["train"]) == TRAIN_COUNT
    assert len(files["held-out"]) == HELD_OUT_COUNT
    everything = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.suffix for p in everything} == {".png"}
    digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in everything}
    assert len(digests) == TRAIN_COUNT + HELD_OUT_COUNT
    with Image.open(files["train"][0]) as picture:
        assert picture.size == (128, 128)
        assert picture.mode == "RGB"


@pytest.mark.parametrize("name", BRANDS)
def test_the_same_index_gives_the_same_pixels(name: str):
    a, b = (np.asarray(brand_picture(BRANDS[name], "train", 7)) for _ in range(2))
    assert (a == b).all()
    assert (a != np.asarray(brand_picture(BRANDS[name], "held-out", 7))).any()


def test_triggers_are_words_that_the_base_does_not_know():
    for brand in BRANDS.values():
        assert brand.trigger not in grammar_words()
        assert not any(parse_caption(brand.trigger).values())


def test_the_style_is_dark_and_the_place_is_warm():
    neon = np.asarray(brand_picture(BRANDS["lumen-signs"], "train", 0), float)
    pagoda = np.asarray(brand_picture(BRANDS["akari-travel"], "train", 0), float)
    assert np.median(neon) < 60
    assert pagoda[..., 0].mean() > pagoda[..., 2].mean() + 30
