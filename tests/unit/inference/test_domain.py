"""Rules of requests."""

from __future__ import annotations

import math

import pytest

from servicekit.errors import InvalidArgument
from services.inference.domain import ImageRequest, Limits, Sampler, StackEntry

LIMITS = Limits(max_side=512)


def test_a_plain_request_is_fine() -> None:
    ImageRequest(brand="acme", prompt="a fox").check(LIMITS)
    ImageRequest(brand="acme", prompt="", width=512, height=8, seed=2**32 - 1, guidance=0).check(LIMITS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 151}, "steps"),
        ({"count": 0}, "count"),
        ({"count": 65}, "count"),
        ({"guidance": -0.1}, "guidance_scale"),
        ({"guidance": math.nan}, "guidance_scale"),
        ({"clip_skip": -1}, "clip_skip"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"width": 12}, "width"),
        ({"height": 520}, "height"),
        ({"width": -8}, "width"),
        ({"karras": True, "sampler": Sampler.DDIM}, "sigma_schedule"),
        ({"switch_every": 2}, "switch_every"),
        ({"stack": (StackEntry(reference="a", weight=math.inf),)}, "stack[0].weight"),
        ({"stack": (StackEntry(reference="a", text_encoder_weight=-11),)}, "stack[0].text_encoder_weight"),
    ],
)
def test_each_fault_names_its_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ImageRequest(brand="acme", prompt="a fox", **changes).check(LIMITS)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidArgument) as caught:
        ImageRequest(brand="acme", prompt="", steps=0, width=3, count=100).check(LIMITS)
    assert {violation.field for violation in caught.value.violations} == {"steps", "width", "count"}
