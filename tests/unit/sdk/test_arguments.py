"""What callers give wrongly is named, with what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from brandloom import (
    Composition,
    GeneratedImage,
    InitialImage,
    Mask,
    Preview,
    Sampler,
    StackEntry,
    SweepSheet,
    TextMessage,
)
from brandloom._arguments import argument
from brandloom._convert.completions import text_request
from brandloom._convert.images import image_request
from brandloom._convert.stacks import stack_entries
from brandloom.api.inference.v1 import inference_pb2


@pytest.mark.parametrize(
    ("settings", "kind", "why"),
    [
        ({"sampler": "eulr"}, ValueError, "sampler must be one of euler, euler_ancestral, ddim, dpmpp_2m"),
        ({"sampler": Composition.ADD}, ValueError, "sampler must be one of"),
        ({"sampler": 3}, TypeError, "sampler must be a Sampler or its name, not the int 3"),
        (
            {"initial_image": "cat.png"},
            TypeError,
            "initial_image must be an InitialImage, not the str 'cat.png'",
        ),
        ({"stack": "neon"}, TypeError, "stack must be a list, each item a StackEntry or a str, not the str"),
        (
            {"stack": ["hero", ("neon", 0.8)]},
            TypeError,
            r"stack\[1\] must be .* not the tuple \('neon', 0.8\)",
        ),
        ({"stepz": 4}, TypeError, "there is no setting 'stepz': did you mean 'steps'"),
        ({"wobble": 4}, TypeError, "there is no setting 'wobble': known are base_model, clip_skip"),
        ({"steps": "4"}, TypeError, "steps must be a whole number, not the str '4'"),
        ({"steps": True}, TypeError, "steps must be a whole number, not the bool True"),
        ({"steps": 4.5}, TypeError, "steps must be a whole number, not the float 4.5"),
        ({"guidance_scale": "5"}, TypeError, "guidance_scale must be a number"),
        ({"negative_prompt": b"x" * 99}, TypeError, r"negative_prompt must be a str, not the bytes \.\.\.$"),
        ({"base_model": 3}, TypeError, "base_model must be a str or a BaseModel"),
        ({"seed": 2**32 - 1, "count": 2}, ValueError, "seeds must be from 0 to 4294967295"),
    ],
)
def test_settings_of_pictures(settings: dict[str, Any], kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why):
        image_request("acme", "a cat", **settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"messages": [{"role": "user", "content": "hi"}]},
            r"messages\[0\] must be a TextMessage, not the dict",
        ),
        ({"stop": "a"}, "stop must be a list, each item a str, not the str 'a'"),
        ({"json_schema": 3}, "json_schema must be a str or a mapping"),
        ({"temprature": 1}, "did you mean 'temperature'"),
    ],
)
def test_settings_of_texts(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        text_request("acme", "", **settings)


def test_what_is_right_is_taken() -> None:
    wanted: dict[str, Any] = {"sampler": "Euler", "composition": "switch", "guidance_scale": 5}
    request = image_request("acme", "a cat", stack=("neon", StackEntry("hero")), steps=None, **wanted)
    assert request.sampler == inference_pb2.SAMPLER_EULER
    assert request.composition == inference_pb2.COMPOSITION_SWITCH
    assert argument("sampler", Sampler, Sampler.DDIM) is Sampler.DDIM
    turns = [TextMessage(role="user", content="hi")]
    assert text_request("acme", "", messages=turns, stop=["a"], json_schema={}).stop == ["a"]


def test_stacks_and_prompts_and_names() -> None:
    stack: Any = [("neon", 0.8)]
    nothing: Any = None
    with pytest.raises(TypeError, match=r"stack\[0\] must be a StackEntry or a str"):
        stack_entries(stack)
    with pytest.raises(TypeError, match="prompt must be a str"):
        image_request("acme", nothing)
    with pytest.raises(TypeError, match="a resource is given by its name"):
        image_request(nothing, "a cat")


def test_pictures_are_shown_without_their_bytes() -> None:
    image = GeneratedImage(index=0, png=b"secret", width=8, height=8, seed=7, sha256="ef")
    preview = Preview(index=0, step=5, png=b"secret", width=4, height=4)
    others = (SweepSheet(png=b"secret"), Mask(b"secret"), InitialImage(b"secret", 0.5, b"secret"))
    for shown in (image, preview, *others):
        assert "secret" not in repr(shown)
    assert "seed=7" in repr(image)
