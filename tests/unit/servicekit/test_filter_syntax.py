from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import InvalidArgument
from servicekit.filter_syntax import All, Any, Comparison, Node, Not, Search, parse_filter


def show(node: Node | None) -> str:
    match node:
        case None:
            return ""
        case Comparison():
            return f"{'.'.join(node.path)}{node.operator}{node.value.text}"
        case Search(value):
            return value.text
        case Not(operand):
            return f"!{show(operand)}"
        case All(operands):
            return f"({' & '.join(map(show, operands))})"
        case Any(operands):
            return f"({' | '.join(map(show, operands))})"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", ""),
        ("   ", ""),
        ("a = 1", "a=1"),
        ("a=1 AND b!=2", "(a=1 & b!=2)"),
        ("a=1 b=2", "(a=1 & b=2)"),
        ("a=1 OR b=2 AND c=3", "((a=1 | b=2) & c=3)"),
        ("a=1 AND b=2 OR c=3", "(a=1 & (b=2 | c=3))"),
        ("a=1 b=2 AND c=3", "((a=1 & b=2) & c=3)"),
        ("NOT a=1", "!a=1"),
        ("-a=1", "!a=1"),
        ("NOT (a=1 OR b=2) c=3", "(!(a=1 | b=2) & c=3)"),
        ("-(a=1)", "!a=1"),
        ('a = "x AND y"', "a=x AND y"),
        ("a = 'it\\'s'", "a=it's"),
        ("labels.env:prod", "labels.env:prod"),
        ("tags:*", "tags:*"),
        ("n >= -5", "n>=-5"),
        ("t<=2026-01-01", "t<=2026-01-01"),
        ("hero", "hero"),
        ('"neon city"', "neon city"),
        ("ANDROID", "ANDROID"),
        ("((a=1))", "a=1"),
        ("a=\tb\n", "a=b"),
        ("name = héro*", "name=héro*"),
    ],
)
def test_trees(text: str, tree: str) -> None:
    assert show(parse_filter(text)) == tree


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("a =", 4, "expected a value after '='"),
        ("= 1", 1, "expected a field"),
        ("a = 1 AND", 10, "expected a field or a value"),
        ("a = 1 OR OR b = 2", 10, "expected a field"),
        ("(a = 1", 1, "never closed"),
        ("a = 1)", 6, "has no place"),
        ('a = "x', 5, "quote is never closed"),
        ("a == 1", 4, "expected a value"),
        ("a ! b", 3, "'!' has no place"),
        ('"a" = 1', 1, "is no field"),
        ("1a = 1", 1, "is no field"),
        ("a..b = 1", 1, "is no field"),
        ("()", 2, "expected a field"),
        ("NOT", 4, "expected a field"),
        ("a=1 -", 6, "expected a field"),
        ("(" * 30 + "a=1" + ")" * 30, 21, "nested deeper"),
        ("a=1 " * 101, 401, "more than 100"),
    ],
)
def test_faults_tell_where_and_why(text: str, position: int, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text)
    violation = caught.value.violations[0]
    assert violation.field == "filter"
    assert violation.description.startswith(f"at character {position}: ")
    assert words in violation.description


def test_endless_filters_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="longer than"):
        parse_filter("a" * 5000)


@given(st.text(alphabet="ab.=!<>:()\"'\\ -*ANDORT1\n", max_size=60))
def test_any_text_is_a_tree_or_a_fault(text: str) -> None:
    try:
        parse_filter(text)
    except InvalidArgument as error:
        assert error.violations[0].field == "filter"
