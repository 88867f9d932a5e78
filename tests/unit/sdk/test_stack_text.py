"""Stacks as one writes them, and all that a request for pictures can say."""

from __future__ import annotations

from pathlib import Path

import pytest

from brandloom import (
    Box,
    Composition,
    InitialImage,
    Mask,
    Sampler,
    SigmaSchedule,
    StackEntry,
    StepWindow,
    parse_stack_entry,
)
from brandloom._convert.images import image_request
from brandloom.api.inference.v1 import inference_pb2
from brandloom.errors import ConfigurationError

PNG = b"\x89PNG\r\n\x1a\n"
AS_GIVEN = {
    "prompt": "a cat",
    "count": 2,
    "seed": 0,
    "negative_prompt": "grey",
    "steps": 9,
    "guidance_scale": 0.0,
    "width": 64,
    "height": 32,
    "clip_skip": 1,
    "switch_every": 2,
    "preview_every": 3,
    "priority": -4,
}
"""What goes into a request as it is."""


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("hero", StackEntry("hero")),
        ("other/hero@prod", StackEntry("other/hero@prod")),
        ("hero:0.8", StackEntry("hero", 0.8)),
        ("hero@3:-0.3:0.8", StackEntry("hero@3", 0.8, -0.3)),
        ("hero:0.8:te=0.3", StackEntry("hero", 0.8, 0.3)),
        ("hero:te=0.3:unet=0.8", StackEntry("hero", 0.8, 0.3)),
        ("hero@prod:0.8:steps=20%-80%", StackEntry("hero@prod", 0.8, window=StepWindow(0.2, 0.8))),
        ("hero:steps=0-0.5", StackEntry("hero", window=StepWindow(0, 0.5))),
        ("hero : 0.8 : box=0,0,50%,1", StackEntry("hero", 0.8, region=Box(0, 0, 0.5, 1))),
        ("hero:mask=left.png", StackEntry("hero", region=Mask(PNG + b"a mask"))),
    ],
)
def test_an_entry_as_it_is_written(text: str, entry: StackEntry, tmp_path: Path) -> None:
    (tmp_path / "left.png").write_bytes(PNG + b"a mask")
    assert parse_stack_entry(text, folder=tmp_path) == entry


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hero:heavy", "'heavy' is no weight"),
        ("hero:10.5", "the weight 10.5 is outside -10 to 10"),
        ("hero:nan", "the weight nan is outside"),
        ("hero:te=-inf", "the weight -inf is outside"),
        ("<lora:neon:0.8>", "write neon:0.8 without the brackets"),
        (f"hero:mask={__file__}", "is no PNG picture"),
        ("hero:1:2:3", "is not LORA"),
        (":1", "is not LORA"),
        ("hero:1:unet=2", "says a weight twice"),
        ("hero:te=1:te=2", "says te= twice"),
        ("hero:size=2", "knows te, unet, steps, box, mask, not 'size'"),
        ("hero:steps=20%", "write steps=20%-80%"),
        ("hero:steps=80%-20%", "ends before it begins"),
        ("hero:steps=0-120%", "'120%' is no part of a whole"),
        ("hero:box=0,0,1", "is no box"),
        ("hero:box=0.5,0,0.5,1", "is empty"),
        ("hero:box=0,0,1,1:mask=a.png", "one region"),
        ("hero:mask=nowhere.png", "nowhere.png cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_stack_entry(text)
    assert why in str(caught.value)


def test_everything_is_sent() -> None:
    request = image_request(
        "acme",
        stack=["hero@prod:0.8:steps=20%-80%", StackEntry("neon", region=Mask(b"m")), "dusk:box=0,0,0.5,1"],
        base_model="sd",
        sampler=Sampler.EULER,
        sigma_schedule=SigmaSchedule.KARRAS,
        composition=Composition.SWITCH,
        initial_image=InitialImage(b"picture", 0.5, b"mask"),
        **AS_GIVEN,
    )
    assert request == inference_pb2.GenerateImagesRequest(
        parent="brands/acme",
        stack=[
            {"reference": "hero@prod", "weight": 0.8, "window": {"start": 0.2, "end": 0.8}},
            {"reference": "neon", "region": {"mask_png": b"m"}},
            {"reference": "dusk", "region": {"box": {"right": 0.5, "bottom": 1}}},
        ],
        base_model="baseModels/sd",
        sampler=inference_pb2.SAMPLER_EULER,
        sigma_schedule=inference_pb2.SIGMA_SCHEDULE_KARRAS,
        composition=inference_pb2.COMPOSITION_SWITCH,
        initial_image={"image": b"picture", "strength": 0.5, "mask_png": b"mask"},
        **AS_GIVEN,
    )
    # Nothing that a request can say is missing here.
    assert {field.name for field, _ in request.ListFields()} == set(request.DESCRIPTOR.fields_by_name)
    assert request.HasField("seed")


def test_what_is_none_stays_unset() -> None:
    request = image_request("acme", "a cat", seed=None, guidance_scale=None, initial_image=None)
    assert request == inference_pb2.GenerateImagesRequest(parent="brands/acme", prompt="a cat")
