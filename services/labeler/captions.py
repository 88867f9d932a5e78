"""Edits of captions: pure rules over text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.labeler.domain import MAX_CAPTION_CHARACTERS


@dataclass(frozen=True, slots=True)
class Prefix:
    """Put before the caption as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Suffix:
    """Put after the caption as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class FindReplace:
    """Literal text replaced by literal text; `whole_words` leaves parts of longer words alone."""

    find: str
    replace: str
    ignore_case: bool = False
    whole_words: bool = False


@dataclass(frozen=True, slots=True)
class TriggerWord:
    """Put before the caption, followed by ", ", unless it stands in the caption as whole words already."""

    word: str


CaptionEdit = Prefix | Suffix | FindReplace | TriggerWord


def edited(caption: str, edit: CaptionEdit) -> str:
    """The caption after the edit, without white space at its ends. An empty caption stays empty: it is
    none.
    """
    if not caption:
        return caption
    return _changed(caption, edit).strip()


def with_trigger(caption: str, word: str) -> str:
    """The caption with the trigger word, also when there is no other caption."""
    if not word:
        return caption
    return edited(caption, TriggerWord(word)) or word


def too_long(caption: str) -> str | None:
    """What is wrong with the caption's length; None when nothing is."""
    if len(caption) <= MAX_CAPTION_CHARACTERS:
        return None
    return f"has {len(caption)} characters; {MAX_CAPTION_CHARACTERS} are allowed"


def _changed(caption: str, edit: CaptionEdit) -> str:
    if isinstance(edit, Prefix):
        return edit.text + caption
    if isinstance(edit, Suffix):
        return caption + edit.text
    if isinstance(edit, FindReplace):
        pattern = _literal(edit.find, edit.whole_words, edit.ignore_case)
        return pattern.sub(lambda _: edit.replace, caption)
    if _literal(edit.word, whole_words=True, ignore_case=True).search(caption):
        return caption
    return f"{edit.word}, {caption}"


def _literal(text: str, whole_words: bool, ignore_case: bool) -> re.Pattern[str]:
    expression = re.escape(text)
    if whole_words:
        # Not \b: the text may begin or end with a character that is part of no word.
        expression = rf"(?<!\w){expression}(?!\w)"
    return re.compile(expression, re.IGNORECASE if ignore_case else 0)
