"""The syntax of filters (AIP-160): text to a tree. What the names mean is decided in servicekit.filtering.

filter      = expression?
expression  = sequence (AND sequence)*
sequence    = factor (factor)*              side by side means AND
factor      = term (OR term)*               so OR binds tighter than AND
term        = (NOT | "-")? simple
simple      = "(" expression ")" | path operator value | value
operator    = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from servicekit.errors import InvalidArgument

MAXIMUM_LENGTH: Final = 4096
MAXIMUM_DEPTH: Final = 20
MAXIMUM_COMPARISONS: Final = 100


@dataclass(frozen=True, slots=True)
class Value:
    """A literal: its text without quotes, whether it was quoted, and where it begins."""

    text: str
    quoted: bool
    position: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`labels.env = "prod"` has the path ("labels", "env")."""

    path: tuple[str, ...]
    operator: str
    value: Value
    position: int


@dataclass(frozen=True, slots=True)
class Search:
    """A literal alone: rows that contain it somewhere."""

    value: Value


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of its operand."""

    operand: Node


@dataclass(frozen=True, slots=True)
class All:
    """True when every operand is."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """True when one operand is."""

    operands: tuple[Node, ...]


Node = Comparison | Search | Not | All | Any


def parse_filter(text: str) -> Node | None:
    """The tree of a filter, None for an empty one; InvalidArgument on `filter` that tells where and why."""
    if len(text) > MAXIMUM_LENGTH:
        raise InvalidArgument.of("filter", f"must not be longer than {MAXIMUM_LENGTH} characters")
    parser = _Parser(list(_tokens(text)))
    return parser.parse()


def fault(position: int, description: str) -> InvalidArgument:
    """The error for the character at `position`, counted from 0 here and from 1 in the message."""
    return InvalidArgument.of("filter", f"at character {position + 1}: {description}")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<operator><=|>=|!=|[=<>:])
      | (?P<open>\()
      | (?P<close>\))
      | (?P<word>[^\s"'()=<>!:]+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_-]+)*\Z")


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            what = (
                "this quote is never closed"
                if text[position] in "\"'"
                else f"{text[position]!r} has no place here"
            )
            raise fault(position, what)
        kind = match.lastgroup or ""
        if kind != "space":
            word = match.group()
            is_keyword = kind == "word" and word in ("AND", "OR", "NOT")
            yield _Token(word if is_keyword else kind, word, position)
        position = match.end()
    yield _Token("end", "the end", position)


class _Parser:
    """Recursive descent over the tokens; one method for each rule of the grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0
        self._comparisons = 0

    def parse(self) -> Node | None:
        if self._peek().kind == "end":
            return None
        node = self._expression()
        if self._peek().kind != "end":
            raise fault(self._peek().position, f"{self._peek().text!r} has no place here")
        return node

    def _expression(self) -> Node:
        operands = [self._sequence()]
        while self._take("AND"):
            operands.append(self._sequence())
        return operands[0] if len(operands) == 1 else All(tuple(operands))

    def _sequence(self) -> Node:
        operands = [self._factor()]
        while self._peek().kind in ("NOT", "open", "word", "string"):
            operands.append(self._factor())
        return operands[0] if len(operands) == 1 else All(tuple(operands))

    def _factor(self) -> Node:
        operands = [self._term()]
        while self._take("OR"):
            operands.append(self._term())
        return operands[0] if len(operands) == 1 else Any(tuple(operands))

    def _term(self) -> Node:
        if self._take("NOT"):
            return Not(self._simple())
        token = self._peek()
        if token.kind == "word" and token.text.startswith("-"):
            self._shorten(token)
            return Not(self._simple())
        return self._simple()

    def _simple(self) -> Node:
        token = self._advance()
        if token.kind == "open":
            return self._parenthesised(token)
        if token.kind not in ("word", "string"):
            raise fault(token.position, f"expected a field or a value, found {token.text!r}")
        self._comparisons += 1
        if self._comparisons > MAXIMUM_COMPARISONS:
            raise fault(token.position, f"more than {MAXIMUM_COMPARISONS} comparisons")
        operator = self._take("operator")
        if operator is None:
            return Search(_value(token))
        if token.kind == "string" or not _PATH.match(token.text):
            raise fault(token.position, f"{token.text!r} is no field")
        return Comparison(
            tuple(token.text.split(".")), operator.text, self._argument(operator), token.position
        )

    def _parenthesised(self, opening: _Token) -> Node:
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise fault(opening.position, f"parentheses nested deeper than {MAXIMUM_DEPTH}")
        node = self._expression()
        if not self._take("close"):
            raise fault(opening.position, "this parenthesis is never closed")
        self._depth -= 1
        return node

    def _argument(self, operator: _Token) -> Value:
        token = self._advance()
        if token.kind not in ("word", "string"):
            raise fault(token.position, f"expected a value after {operator.text!r}, found {token.text!r}")
        return _value(token)

    def _shorten(self, token: _Token) -> None:
        rest = token.text[1:]
        if rest:
            self._tokens[self._next] = _Token("word", rest, token.position + 1)
        else:
            self._next += 1

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _advance(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _take(self, kind: str) -> _Token | None:
        return self._advance() if self._peek().kind == kind else None


def _value(token: _Token) -> Value:
    if token.kind == "string":
        return Value(_ESCAPE.sub(r"\1", token.text[1:-1]), True, token.position)
    return Value(token.text, False, token.position)
