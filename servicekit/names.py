"""Resource names (AIP-122): `brands/{brand}/loras/{lora}` patterns, parsed and formatted.

A segment that the user chose follows the id rule: lower-case letters, digits and hyphens, a letter first, no
hyphen last, 63 characters at most. Ids made by servers (hex) and version numbers may begin with a digit, so
`parse` accepts those too, and `require_id` is for the id of something that is being created.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from servicekit.errors import InvalidArgument

ID_RULE: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_SEGMENT: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_VARIABLE: Final = re.compile(r"\{([a-z_]+)\}")
WILDCARD: Final = "-"


def require_id(value: str, field: str) -> str:
    """The value, when it follows the id rule; else InvalidArgument on `field`."""
    if not ID_RULE.match(value):
        raise InvalidArgument.of(
            field, "must be 1 to 63 lower-case letters, digits or hyphens, a letter first and no hyphen last"
        )
    return value


def parse(pattern: str, name: str, *, field: str = "name", wildcard: bool = False) -> dict[str, str]:
    """The variables of `name` read by `pattern`; InvalidArgument on `field` when it does not match.

    With `wildcard`, a segment may be `-`, which stands for every resource of that collection (AIP-159).
    """
    match = _compiled(pattern, wildcard).match(name)
    if match is None:
        raise InvalidArgument.of(field, f"must look like {pattern}, not {name[:200]!r}")
    return match.groupdict()


def matches(pattern: str, name: str) -> bool:
    """Whether `name` is one that `parse` accepts."""
    return _compiled(pattern, False).match(name) is not None


def format_name(pattern: str, **variables: str | int) -> str:
    """The name made of `pattern` and its variables; ValueError when that name would not parse."""
    name = pattern.format(**variables)
    if not matches(pattern, name):
        raise ValueError(f"{name!r} is no name of the pattern {pattern}")
    return name


@lru_cache(maxsize=256)
def _compiled(pattern: str, wildcard: bool) -> re.Pattern[str]:
    segment = f"{_SEGMENT}|-" if wildcard else _SEGMENT
    parts = _VARIABLE.split(pattern)  # literal, variable, literal, variable, ..., literal
    expression = "".join(
        f"(?P<{part}>{segment})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    return re.compile(expression + r"\Z")
