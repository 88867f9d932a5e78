"""What a child process that handles hostile bytes may know of its parent's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SECRET_NAMES: Final = ("BRANDLOOM_TOKEN", "BRANDLOOM_S3_ACCESS_KEY", "BRANDLOOM_S3_SECRET_KEY")
_SECRET_SUFFIX: Final = "_DATABASE_URL"  # noqa: S105


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without tokens, store credentials and database addresses, which hold passwords."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _SECRET_NAMES and not name.endswith(_SECRET_SUFFIX)
    }
