"""The patterns of the API's rules in words: who sent a wrong name reads how a right one looks."""

from __future__ import annotations

import re
from typing import Final

_ID: Final = "[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
_DIGEST: Final = "[0-9a-f]{64}"
_WORDS: Final = {
    _ID: "must be 1 to 63 lower-case letters, digits and hyphens, with a letter first and no hyphen last",
    _DIGEST: "must be a SHA-256 in 64 lower-case hexadecimal digits",
    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}": "must be a UUID4 in lower case",
    "[a-z0-9][a-z0-9.-]{0,62}": (
        "must be 1 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit first"
    ),
    "[a-z0-9][a-z0-9_.:-]{0,62}": (
        "must be 1 to 63 lower-case letters, digits and any of _ . : - with a letter or digit first"
    ),
    "[a-z][a-z0-9_]{0,62}": (
        "must be 1 to 63 lower-case letters, digits and underscores, with a letter first"
    ),
    "[a-z][a-z0-9_-]{0,62}": (
        "must be 1 to 63 lower-case letters, digits, underscores and hyphens, with a letter first"
    ),
}
# What may stand for one part of a resource name; the longest first, as each is looked for as it is written.
_PARTS: Final = (
    f"({_ID}|-)",
    "([1-9][0-9]{0,17}|latest)",
    _ID,
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "[a-z0-9][a-z0-9-]{0,62}",
)
_COLLECTION: Final = re.compile(rf"([a-zA-Z]+)s/(?:{'|'.join(re.escape(part) for part in _PARTS)})")
_NAME: Final = re.compile(r"[a-zA-Z{}_/]+")


def in_words(pattern: str) -> str | None:
    """What a text of this pattern looks like, as "must be ..." or "must look like ..."; None for a pattern
    that this module has no words for.
    """
    core = pattern.removeprefix("^").removesuffix("$")
    optional = re.fullmatch(r"\((.*)\)\?", core)
    ending = ""
    # `a(b)?` ends like an optional group too: only a group around everything makes the text optional.
    if optional and (optional[1] in _WORDS or "/" in optional[1]):
        core, ending = optional[1], " or empty"
    if core in _WORDS:
        return _WORDS[core] + ending
    name = _COLLECTION.sub(lambda match: f"{match[1]}s/{{{_snake(match[1])}}}", core)
    if not _NAME.fullmatch(name):
        return None
    return f"must look like {name}{ending}, in lower-case letters, digits and hyphens"


def _snake(camel: str) -> str:
    return re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", camel)
