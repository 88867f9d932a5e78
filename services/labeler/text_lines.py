"""Texts as lines of JSON: files as people send them, and the lines of a manifest.

    {"kind":"text","prompt":"...","response":"...","split":"train"}
    {"kind":"text","messages":[{"content":"...","role":"user"},...],"split":"train"}

What is written has sorted keys and is all ASCII, so that no reader splits a line at one of the line ends that
Unicode adds; it can be read again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from servicekit.errors import FieldViolation, InvalidArgument
from services.labeler import texts
from services.labeler.domain import Split
from services.labeler.domain_texts import ASSISTANT, ROLES, Message, Text, TextForm, TextLine, Words
from services.labeler.limits import UploadLimits

KIND: Final = "text"
MAX_FAULTS: Final = 100
_KEYS: Final = frozenset({"kind", "prompt", "response", "messages", "split"})
_MESSAGE_KEYS: Final = frozenset({"role", "content"})
_FORMS: Final = {TextForm.PAIR: "a prompt with its response", TextForm.CONVERSATION: "a conversation"}
# What a byte of UTF-8 takes at most where it is escaped: \u001f.
_ESCAPED_CHARACTERS: Final = 6
_MESSAGE_CHARACTERS: Final = 64
_SHOWN_KEYS: Final = 5
_SHOWN_CHARACTERS: Final = 40


def line_of(words: Words, split: Split) -> str:
    """The line of a manifest, with its end."""
    return json.dumps(_record(words) | {"kind": KIND, "split": split.value}, **_CANONICAL) + "\n"


def digest_of(words: Words) -> str:
    """SHA-256 of what is said, as 64 hex digits."""
    return hashlib.sha256(json.dumps(_record(words), **_CANONICAL).encode()).hexdigest()


def manifest_of_texts(of: Iterable[Text]) -> bytes:
    """The manifest of these texts, in their order."""
    return "".join(line_of(text.words, text.split) for text in of).encode()


def parsed_lines(
    data: bytes, name: str, limits: UploadLimits, *, form: TextForm | None = None
) -> list[TextLine]:
    """The texts of a file; `form` is that of the dataset's texts, None when there are none.

    InvalidArgument that names every faulty line as `name:line`, the first MAX_FAULTS of them.
    """
    reader = _Reader(name, limits, form)
    with suppress(_EnoughError):
        reader.read(data)
        if not reader.lines and not reader.faults:
            reader.faults.append(FieldViolation(name, "holds no texts"))
    if reader.faults:
        raise InvalidArgument(reader.faults, reason="TEXT_FILE_INVALID")
    return reader.lines


_CANONICAL: Final[dict[str, Any]] = {"sort_keys": True, "separators": (",", ":")}


def _record(words: Words) -> dict[str, Any]:
    if words.form is TextForm.PAIR:
        return {"prompt": words.prompt, "response": words.response}
    return {"messages": [{"role": message.role, "content": message.content} for message in words.messages]}


class _EnoughError(Exception):
    """So much is wrong with the file that what follows need not be read."""


class _LineError(Exception):
    """What is wrong with a line."""


class _Reader:
    """Collects texts and faults of one file."""

    def __init__(self, name: str, limits: UploadLimits, form: TextForm | None) -> None:
        self.lines: list[TextLine] = []
        self.faults: list[FieldViolation] = []
        self._name = name
        self._limits = limits
        self._form = form
        self._first = 0
        per_text = _ESCAPED_CHARACTERS * limits.max_text_bytes
        self._max_line = per_text + _MESSAGE_CHARACTERS * limits.max_text_turns

    def read(self, data: bytes) -> None:
        """Every line; blank ones count and are passed over."""
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            last = data.count(b"\n", 0, error.start) + 1
            self._fault(last, f"is not UTF-8 (byte {error.start} of the file)")
            return
        for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
            if number > self._limits.max_text_lines:
                self._fault(number, f"is beyond {self._limits.max_text_lines} lines, which is the limit")
                raise _EnoughError
            if not line.strip():
                continue
            try:
                self.lines.append(self._line(line, number))
            except _LineError as error:
                self._fault(number, str(error))

    def _fault(self, line: int, description: str) -> None:
        """_EnoughError with the last fault that an answer has room for."""
        self.faults.append(FieldViolation(f"{self._name}:{line}", description))
        if len(self.faults) >= MAX_FAULTS:
            raise _EnoughError

    def _line(self, line: str, number: int) -> TextLine:
        record = self._object(line)
        words = self._words(record)
        self._require_form(words.form, number)
        return TextLine(number, words, _split(record))

    def _object(self, line: str) -> dict[str, Any]:
        if len(line) > self._max_line:
            raise _LineError(f"has more than {self._max_line} characters")
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise _LineError(f"is no JSON: {error.msg} (character {error.colno})") from None
        except (ValueError, RecursionError):
            raise _LineError("is no JSON that can be read") from None
        if not isinstance(record, dict):
            raise _LineError('must be an object like {"prompt": "Hello?", "response": "Hello!"}')
        if unknown := sorted(record.keys() - _KEYS):
            raise _LineError(f"has {_shown(unknown)}, which no text has; there are {_shown(sorted(_KEYS))}")
        if record.get("kind", KIND) != KIND:
            raise _LineError(f'has a kind other than "{KIND}"')
        return record

    def _words(self, record: dict[str, Any]) -> Words:
        if "messages" in record and ("prompt" in record or "response" in record):
            raise _LineError("has both messages and a prompt or response; give it one form")
        words = _conversation(record["messages"], self._limits) if "messages" in record else _pair(record)
        contents = [words.prompt, words.response, *(message.content for message in words.messages)]
        for content in contents:
            if problem := texts.problem(content):
                raise _LineError(problem)
        size = sum(len(content.encode()) for content in contents)
        if size > self._limits.max_text_bytes:
            raise _LineError(f"says {size} bytes; {self._limits.max_text_bytes} are allowed")
        answers = [message.content for message in words.messages if message.role == ASSISTANT]
        if not any(answer.strip() for answer in (words.response, *answers)):
            raise _LineError("has no answer to learn from")
        return words

    def _require_form(self, form: TextForm, number: int) -> None:
        if self._form is None:
            self._form, self._first = form, number
        if form is not self._form:
            other = f"line {self._first} is" if self._first else "what the dataset holds is"
            raise _LineError(
                f"is {_FORMS[form]}; {other} {_FORMS[self._form]}: all texts of a dataset have one form"
            )


def _pair(record: dict[str, Any]) -> Words:
    bad = [key for key in ("prompt", "response") if not isinstance(record.get(key), str)]
    if bad:
        raise _LineError(
            f"needs {' and '.join(bad)} as a string (a text is a prompt with a response, or messages)"
        )
    return Words(prompt=record["prompt"], response=record["response"])


def _conversation(messages: Any, limits: UploadLimits) -> Words:
    if not isinstance(messages, list) or not 1 <= len(messages) <= limits.max_text_turns:
        raise _LineError(f"needs 1 to {limits.max_text_turns} messages in a list")
    return Words(messages=tuple(_message(message, place) for place, message in enumerate(messages, start=1)))


def _message(message: Any, place: int) -> Message:
    if not isinstance(message, dict):
        raise _LineError(f'message {place} must be an object like {{"role": "user", "content": "Hello?"}}')
    if unknown := sorted(message.keys() - _MESSAGE_KEYS):
        raise _LineError(f"message {place} has {_shown(unknown)}; there are {_shown(sorted(_MESSAGE_KEYS))}")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES or not isinstance(content, str):
        raise _LineError(f"message {place} needs a role ({', '.join(ROLES)}) and its content as a string")
    return Message(role, content)


def _split(record: dict[str, Any]) -> Split | None:
    if "split" not in record:
        return None
    try:
        return Split(record["split"])
    except ValueError:
        raise _LineError(f"has a split other than {' or '.join(Split)}") from None


def _shown(keys: list[str]) -> str:
    named = ", ".join(repr(key[:_SHOWN_CHARACTERS]) for key in keys[:_SHOWN_KEYS])
    return named if len(keys) <= _SHOWN_KEYS else f"{named} and more"
