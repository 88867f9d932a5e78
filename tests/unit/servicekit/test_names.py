from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import InvalidArgument
from servicekit.ids import new_id
from servicekit.names import format_name, matches, parse, require_id

VERSION = "brands/{brand}/loras/{lora}/versions/{version}"


def test_parse_and_format() -> None:
    name = format_name(VERSION, brand="acme", lora="neon-city", version=3)
    assert name == "brands/acme/loras/neon-city/versions/3"
    assert parse(VERSION, name) == {"brand": "acme", "lora": "neon-city", "version": "3"}


ids = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(brand=ids, lora=ids)
def test_every_id_makes_a_name_that_parses(brand: str, lora: str) -> None:
    pattern = "brands/{brand}/loras/{lora}"
    assert parse(pattern, format_name(pattern, brand=brand, lora=lora)) == {"brand": brand, "lora": lora}


@given(st.text(max_size=40))
def test_parse_never_lets_another_character_through(name: str) -> None:
    if matches("brands/{brand}", name):
        assert set(name.removeprefix("brands/")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "brands",
            "brands/",
            "brands/A",
            "brands/a-",
            "brands/-",
            "brands/a/b",
            "/brands/a",
            "brands/a\n",
        ),
        *("brands/ä", "brands/" + "a" * 64, "brands/../a", "loras/a"),
    ],
)
def test_bad_names_are_refused_with_their_field(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse("brands/{brand}", name, field="parent")
    assert caught.value.violations[0].field == "parent"
    assert "brands/{brand}" in caught.value.violations[0].description


def test_wildcards_only_where_they_are_allowed() -> None:
    assert parse("brands/{brand}", "brands/-", wildcard=True) == {"brand": "-"}
    assert parse("brands/{brand}", "brands/a", wildcard=True) == {"brand": "a"}


def test_format_refuses_what_would_not_parse() -> None:
    with pytest.raises(ValueError, match="no name of the pattern"):
        format_name("brands/{brand}", brand="a/b")


@pytest.mark.parametrize("value", ["a", "a1", "neon-city", "a" * 63])
def test_good_ids(value: str) -> None:
    assert require_id(value, "lora_id") == value


@pytest.mark.parametrize("value", ["", "1a", "-a", "a-", "A", "a_b", "a" * 64, "a\n"])
def test_bad_ids(value: str) -> None:
    with pytest.raises(InvalidArgument, match="lora_id"):
        require_id(value, "lora_id")


def test_new_ids_sort_by_time_and_fit_into_names() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [identifier[:12] for identifier in ids] == sorted(identifier[:12] for identifier in ids)
    assert all(identifier[12] == "7" and identifier[16] in "89ab" for identifier in ids)
    assert matches("brands/{brand}/trainingJobs/{job}", f"brands/a/trainingJobs/{ids[0]}")
