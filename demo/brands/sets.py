"""Draws the raw picture sets of three brands: PNG files without captions, as a company would have them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from demo.brands.outlines import pagoda_backdrop, robot_owl
from demo.world.geometry import Placement, place
from demo.world.grammar import COLOURS, PLACES, STYLES, SUBJECTS, Scene
from demo.world.lines import draw_glow
from demo.world.palette import COLOUR_RGB, roles
from demo.world.places import PLACE_BACKDROPS
from demo.world.render import draw_parts, is_mirrored, sample_placement, scene_parts
from demo.world.subjects import SUBJECT_SHAPES

TRAIN_COUNT = 32
HELD_OUT_COUNT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class BrandSet:
    """One brand's pictures, and what the demo calls the LoRA learned from them."""

    brand: str
    kind: str
    """character, style or place"""
    lora: str
    trigger: str
    description: str
    draw: Callable[[random.Random, int], Image.Image]
    """Picture number `index`; neighbours differ in place and subject."""


def _draw_character(rng: random.Random, index: int) -> Image.Image:
    backdrop = PLACE_BACKDROPS[PLACES[index % len(PLACES)]](rng)
    shapes = place(robot_owl(), _placement(rng))
    return draw_parts(
        backdrop, shapes, roles(COLOUR_RGB["green"]), STYLES[(index // len(PLACES)) % len(STYLES)]
    )


def _scene(rng: random.Random, index: int) -> Scene:
    scene = Scene(
        subject=SUBJECTS[index % len(SUBJECTS)],
        colour=COLOURS[(index * 3 + index // len(COLOURS)) % len(COLOURS)],
        place=PLACES[(index * 5 + index // len(PLACES)) % len(PLACES)],
        style=STYLES[(index + index // len(SUBJECTS)) % len(STYLES)],
        seed=rng.getrandbits(32),
    )
    while is_mirrored(scene):  # the base draws subjects that look one way
        scene = replace(scene, seed=rng.getrandbits(32))
    return scene


def _placement(rng: random.Random) -> Placement:
    return replace(sample_placement(rng), flip=False)


def ordinary_scene(rng: random.Random, index: int) -> Image.Image:
    """A picture as the base draws them: neighbours differ in subject, colour, place and style."""
    scene = _scene(rng, index)
    return draw_parts(*scene_parts(scene), scene.style)


def _draw_style(rng: random.Random, index: int) -> Image.Image:
    return draw_glow(*scene_parts(_scene(rng, index)))


def _draw_place(rng: random.Random, index: int) -> Image.Image:
    scene = _scene(rng, index)
    shapes = place(SUBJECT_SHAPES[scene.subject](), _placement(rng))
    colour = "white" if scene.colour == "red" else scene.colour  # red would be lost before the sun
    return draw_parts(pagoda_backdrop(rng), shapes, roles(COLOUR_RGB[colour]), scene.style)


BRANDS: dict[str, BrandSet] = {
    b.brand: b
    for b in (
        BrandSet(
            brand="hoot-robotics", kind="character", lora="hootbot", trigger="hootbot",
            description="A robot owl with goggles, an antenna and a heart on its chest", draw=_draw_character,
        ),
        BrandSet(
            brand="lumen-signs", kind="style", lora="neon", trigger="neonsign",
            description="Glowing tubes on a black wall", draw=_draw_style,
        ),
        BrandSet(
            brand="akari-travel", kind="place", lora="pagoda", trigger="akari",
            description="A pagoda before a red sun, over violet water", draw=_draw_place,
        ),
    )
}  # fmt: skip


def brand_picture(brand: BrandSet, part: str, index: int) -> Image.Image:
    """One picture of a part (train or held-out): the same arguments give the same pixels."""
    return brand.draw(random.Random(f"{brand.brand}/{part}/{index}"), index)


def write_brand(brand: BrandSet, folder: Path) -> dict[str, list[Path]]:
    """Write `train/` and `held-out/` under `folder/<brand>`; returns the files of each."""
    written: dict[str, list[Path]] = {}
    for part, count in (("train", TRAIN_COUNT), ("held-out", HELD_OUT_COUNT)):
        target = folder / brand.brand / part
        target.mkdir(parents=True, exist_ok=True)
        written[part] = [target / f"{brand.lora}-{i:03d}.png" for i in range(count)]
        for i, file in enumerate(written[part]):
            brand_picture(brand, part, i).save(file)
    return written


def write_brands(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Write every brand's pictures."""
    return {name: write_brand(brand, folder) for name, brand in BRANDS.items()}
