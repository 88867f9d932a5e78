"""Tags and references of prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.errors import PromptSyntaxError
from lorakit.prompt_syntax import (
    LoraReference,
    WeightedReference,
    add_up,
    format_tag,
    parse_prompt,
    parse_reference,
)

IDS = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
REFERENCES = st.builds(
    lambda name, brand, end: LoraReference(
        name, brand, end if isinstance(end, str) else None, end if isinstance(end, int) else None
    ),
    IDS,
    st.none() | IDS,
    st.none() | IDS | st.integers(1, 999_999_999),
)
WEIGHTS = st.floats(-10, 10, allow_nan=False)
HERO = LoraReference("hero")


@pytest.mark.parametrize(
    ("tag", "te", "unet"),
    [
        ("<lora:hero>", 1.0, 1.0),
        ("<lora:hero:0.6>", 0.6, 0.6),
        ("<lora:hero:0.6:0.2>", 0.6, 0.2),
        ("<lora:hero:.5>", 0.5, 0.5),
        ("<lora:hero:-1>", -1.0, -1.0),
        ("<lora:hero:0>", 0.0, 0.0),
        ("<lora:hero:unet=0.3>", 1.0, 0.3),
        ("<lora:hero:te=0.3>", 0.3, 0.3),
        ("<lora:hero:te=0.3:unet=0.7>", 0.3, 0.7),
        ("<lora:hero:0.4:unet=0.7>", 0.4, 0.7),
        ("<lora: hero : 0.4 >", 0.4, 0.4),
    ],
)
def test_weights(tag: str, te: float, unet: float) -> None:
    assert parse_prompt(f"a cat {tag}").entries == (WeightedReference(HERO, te, unet),)


def test_text_is_left_without_tags() -> None:
    parsed = parse_prompt("<lora:hero:0.6> <lora:neon-city:0.8> riding a motorcycle")
    assert parsed.text == "riding a motorcycle"
    assert [str(entry.reference) for entry in parsed.entries] == ["hero", "neon-city"]
    assert parse_prompt("a cat<lora:hero:1>on a mat").text == "a cat on a mat"
    assert parse_prompt("a\n<lora:hero:1>\nb").text == "a\n\nb"


@given(st.text().filter(lambda text: "<" not in text))
def test_a_prompt_without_tags_is_unchanged(text: str) -> None:
    assert parse_prompt(text).text == text


@pytest.mark.parametrize("text", ["I <3 you", "a < b > c", "<lora>", "<>", "<lora:>", "x <y:", "a: b"])
def test_text_that_only_resembles_a_tag(text: str) -> None:
    assert parse_prompt(text).text == text


def test_hostile_prompts_take_no_long_time() -> None:
    for text in ("<a:" * 30_000, "<" + "a" * 90_000, "<lora:" + "a" * 90_000 + ">"):
        assert parse_prompt(text).text == text


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<hypernet:x:1>", "hypernet"),
        ("<lora:Hero:1>", "no LoRA reference"),
        ("<lora:hero@:1>", "no LoRA reference"),
        ("<lora:hero@0:1>", "no LoRA reference"),
        ("<lora:a/b/c:1>", "no LoRA reference"),
        ("<lora:../etc:1>", "no LoRA reference"),
        ("<lora:hero:x>", "no weight"),
        ("<lora:hero:nan>", "no weight"),
        ("<lora:hero:1e3>", "no weight"),
        ("<lora:hero:1_0>", "no weight"),
        ("<lora:hero:\u0661>", "no weight"),
        ("<lora:hero:>", "no weight"),
        ("<lora:hero:11>", "outside"),
        ("<lora:hero:1:1:1>", "more than two"),
        ("<lora:hero:1:te=1>", "twice"),
        ("<lora:hero:0.8:steps=0-50%>", "steps= is no part of a tag, which has weights alone"),
        ("<lora:hero:dyn=1>", "knows te= and unet="),
    ],
)
def test_errors_name_the_tag(tag: str, words: str) -> None:
    with pytest.raises(PromptSyntaxError, match=words) as caught:
        parse_prompt(f"a cat {tag}")
    assert caught.value.tag == tag
    assert caught.value.position == 6


@given(st.lists(st.builds(WeightedReference, REFERENCES, WEIGHTS, WEIGHTS), max_size=4))
def test_tags_round_trip(entries: list[WeightedReference]) -> None:
    parsed = parse_prompt("a cat " + " ".join(format_tag(entry) for entry in entries)).entries
    assert [entry.reference for entry in parsed] == [entry.reference for entry in entries]
    for one, other in zip(parsed, entries, strict=True):
        assert one.unet_weight == pytest.approx(other.unet_weight, abs=1e-14)
        assert one.text_encoder_weight == pytest.approx(other.text_encoder_weight, abs=1e-14)


@given(REFERENCES)
def test_references_round_trip(reference: LoraReference) -> None:
    assert parse_reference(str(reference)) == reference


def test_the_same_reference_adds_up() -> None:
    other = LoraReference("hero", alias="prod")
    entries = [
        WeightedReference(HERO, 0.5, 0.25),
        WeightedReference(other, 1.0, 1.0),
        WeightedReference(HERO, 0.5, 0.5),
    ]
    assert add_up(entries) == (WeightedReference(HERO, 1.0, 0.75), WeightedReference(other, 1.0, 1.0))
