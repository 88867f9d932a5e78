"""From tokens' bytes to pieces of text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.engine.text_pieces import Pieces, StopWords


def fed(stops: list[str], parts: list[bytes]) -> tuple[list[str], bool]:
    """The pieces, and whether a stop text ended them."""
    pieces = Pieces(StopWords(stops))
    told = []
    for part in parts:
        text, stopped = pieces.feed(part)
        told.append(text)
        if stopped:
            return told, True
    return [*told, pieces.rest()], False


@settings(max_examples=50)
@given(st.text(max_size=40), st.lists(st.integers(1, 4), min_size=1))
def test_no_piece_splits_a_character(text: str, sizes: list[int]) -> None:
    data, parts = text.encode(), []
    for index in range(len(data)):
        size = sizes[index % len(sizes)]
        parts.append(data[:size])
        data = data[size:]
    told, _ = fed([], parts)
    assert "".join(told) == text
    assert "\ufffd" not in "".join(told) or "\ufffd" in text


def test_a_character_cut_at_the_end_is_left_out() -> None:
    assert fed([], [b"sale ", "🦊".encode()[:3]]) == (["sale ", "", ""], False)


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert fed([], [b"a\xff", b"b"]) == (["a\ufffd", "b", ""], False)


@pytest.mark.parametrize(
    ("stops", "parts", "expected", "stopped"),
    [
        (["END"], ["one E", "ND two"], ["one ", ""], True),
        (["END"], ["one E", "lse"], ["one ", "Else", ""], False),
        (["END"], ["one EN"], ["one ", "EN"], False),
        (["\n\n", "\n#"], ["a\n", "b\n", "\nc"], ["a", "\nb", ""], True),
        # The first in the text counts, not the first in the list.
        (["two", "one"], ["one two"], [""], True),
        (["aab"], ["aa", "ab"], ["", "a"], True),
        (["abc", "bx"], ["ab", "x"], ["", "a"], True),
    ],
)
def test_a_stop_text_ends_and_its_beginning_waits(
    stops: list[str], parts: list[str], expected: list[str], stopped: bool
) -> None:
    assert fed(stops, [part.encode() for part in parts]) == (expected, stopped)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_pieces_are_what_comes_before_the_first_stop_text(text: str, stops: list[str]) -> None:
    told, stopped = fed(stops, [character.encode() for character in text])
    # A stop text is seen as soon as it is whole: of those that are whole first, the one that began first.
    ends = [next((i for i in range(len(text) + 1) if text[:i].endswith(stop)), None) for stop in stops]
    whole = [end for end in ends if end is not None]
    assert stopped == bool(whole)
    if not whole:
        assert "".join(told) == text
        return
    end = min(whole)
    began = min(end - len(stop) for stop, at in zip(stops, ends, strict=True) if at == end)
    assert "".join(told) == text[:began]
