"""What the labeler knows about texts: pairs of a prompt and a response, and conversations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.labeler.domain import Split
from services.labeler.keys import TextKey

ASSISTANT: Final = "assistant"
ROLES: Final = ("system", "user", ASSISTANT)


class TextForm(StrEnum):
    """How a text is written down; all of a dataset have the same form."""

    PAIR = "pair"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is one of ROLES."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What a text says: prompt and response, or messages."""

    prompt: str = ""
    response: str = ""
    messages: tuple[Message, ...] = ()

    @property
    def form(self) -> TextForm:
        """Which of the two it is."""
        return TextForm.CONVERSATION if self.messages else TextForm.PAIR


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of a file: its number there from 1, what it says, and what it is for where that is said."""

    number: int
    words: Words
    split: Split | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One text of a dataset. `position` orders the texts as they were uploaded; `sha256` is of its words,
    `size_bytes` is that of its line in a manifest.
    """

    key: TextKey
    words: Words
    split: Split
    excluded: bool
    position: int
    source_name: str
    line_number: int
    sha256: str
    size_bytes: int
    create_time: datetime
    update_time: datetime
    etag: str


@dataclass(frozen=True, slots=True)
class TextTotals:
    """All texts of a dataset: how many, in which form (None while there are none), the largest position, and
    the size of their manifest in bytes.
    """

    count: int = 0
    form: TextForm | None = None
    last_position: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TextUpload:
    """How many texts of a file were new, and how many the dataset had."""

    added: int
    unchanged: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TextChanges:
    """Fields of a text that a reviewer sets; None leaves one as it is."""

    split: Split | None = None
    excluded: bool | None = None
