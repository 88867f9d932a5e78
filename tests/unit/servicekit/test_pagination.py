from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import InvalidArgument
from servicekit.pagination import PageToken, clamp_page_size, query_digest

values = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=20))


@given(st.lists(values, max_size=4))
def test_a_token_comes_back_as_it_was(cursor: list[str | int | None]) -> None:
    query = query_digest("loras", "brands/a", "x = 1")
    token = PageToken(tuple(cursor))
    text = token.encode(query)
    assert text.replace("-", "").replace("_", "").isalnum()
    assert PageToken.decode(text, query) == token


def test_no_token_is_the_first_page() -> None:
    assert PageToken.decode("", "q") is None


def test_a_token_of_another_query_is_refused() -> None:
    text = PageToken(("a",)).encode(query_digest("loras", "filter a"))
    with pytest.raises(InvalidArgument) as caught:
        PageToken.decode(text, query_digest("loras", "filter b"))
    assert caught.value.violations[0].field == "page_token"


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_an_altered_token_is_refused(at: int, replacement: str) -> None:
    query = query_digest("q")
    text = PageToken(("brands/acme/loras/hero", 17)).encode(query)
    at %= len(text)
    altered = text[:at] + replacement + text[at + 1 :]
    try:
        assert PageToken.decode(altered, query) == PageToken.decode(text, query)
    except InvalidArgument as error:
        assert error.violations[0].field == "page_token"


@given(st.text(min_size=1, max_size=60))
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        PageToken.decode(text, "q")


def test_query_parts_do_not_run_together() -> None:
    assert query_digest("ab", "c") != query_digest("a", "bc")


def test_page_sizes() -> None:
    assert clamp_page_size(0) == 50
    assert clamp_page_size(7) == 7
    assert clamp_page_size(5000) == 1000
    with pytest.raises(InvalidArgument, match="page_size"):
        clamp_page_size(-1)
