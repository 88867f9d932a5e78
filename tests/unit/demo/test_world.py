"""The drawn world: the same scene gives the same pixels, and captions say exactly what is drawn."""

import random

import numpy as np
import pytest

from demo.world import COLOURS, PLACES, SIZE, STYLES, SUBJECTS, Scene, draw_scene, parse_caption, sample_scene
from demo.world.grammar import TEMPLATES
from demo.world.palette import COLOUR_RGB
from demo.world.render import scene_parts
from demo.world.wide import draw_lines, draw_wide


def _pixels(scene: Scene) -> np.ndarray:
    return np.asarray(draw_scene(scene), np.int16)


def test_the_world_is_as_large_as_promised():
    assert len(SUBJECTS) == 12
    assert len(COLOURS) == 10
    assert len(PLACES) == 8
    assert len(STYLES) == 3


def test_a_scene_draws_the_same_pixels_each_time():
    scene = sample_scene(random.Random(3))
    assert sample_scene(random.Random(3)) == scene
    assert (_pixels(scene) == _pixels(scene)).all()
    assert draw_scene(scene).size == (SIZE, SIZE)
    assert draw_scene(scene).mode == "RGB"


def test_another_seed_draws_another_picture():
    a = Scene("cat", "red", "beach", "flat", seed=1)
    b = Scene("cat", "red", "beach", "flat", seed=2)
    assert np.abs(_pixels(a) - _pixels(b)).mean() > 2


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("place", PLACES)
def test_every_place_and_style_can_be_drawn(place: str, style: str):
    pixels = _pixels(Scene("teapot", "blue", place, style, seed=5))
    assert pixels.std() > 15


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_subject_is_large_and_in_the_frame(subject: str):
    _, shapes, _ = scene_parts(Scene(subject, "red", "snow", "flat", seed=8))
    points = np.concatenate([s.points for s in shapes])
    assert points.min() > -0.05
    assert points.max() < 1.05
    assert np.ptp(points, axis=0).max() > 0.45


@pytest.mark.parametrize("colour", COLOURS)
def test_the_subjects_colour_covers_many_pixels(colour: str):
    pixels = _pixels(Scene("mushroom", colour, "underwater", "flat", seed=4))
    near = np.abs(pixels - np.array(COLOUR_RGB[colour])).max(axis=2) < 12
    assert near.mean() > 0.05


def test_colours_are_far_apart():
    rgb = [np.array(v, float) for v in COLOUR_RGB.values()]
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(rgb) for b in rgb[:i]]
    assert min(gaps) > 55


def test_the_canonical_caption_reads_back_exactly():
    rng = random.Random(0)
    for _ in range(200):
        scene = sample_scene(rng)
        assert parse_caption(scene.caption()) == {
            "subject": scene.subject,
            "colour": scene.colour,
            "place": scene.place,
            "style": scene.style,
        }


def test_no_wording_ever_says_something_untrue():
    rng = random.Random(1)
    for _ in range(500):
        scene = sample_scene(rng)
        said = parse_caption(scene.varied_caption(rng))
        assert any(said.values())
        assert all(value in (None, getattr(scene, key)) for key, value in said.items())


def test_captions_use_the_right_article():
    assert Scene("cat", "orange", "beach", "flat").caption().startswith("an orange cat on a beach")
    assert Scene("cat", "red", "underwater", "ink").caption() == "a red cat under water, ink style"


def test_shares_of_wordings_add_up():
    assert sum(share for _, share in TEMPLATES) == pytest.approx(1.0)


def test_the_wider_world_is_reproducible_too():
    first = np.asarray(draw_wide(random.Random("w/1")))
    assert (first == np.asarray(draw_wide(random.Random("w/1")))).all()
    assert first.shape == (SIZE, SIZE, 3)
    assert np.asarray(draw_lines(Scene("fish", "blue", "city", "flat", 3))).mean() < 110
