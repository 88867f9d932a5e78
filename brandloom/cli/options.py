"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def listing(function: F) -> F:
    """`--filter`, `--order-by` and `--limit`."""
    for option in (
        click.option("--limit", type=click.IntRange(min=1), help="Most items to show."),
        click.option("--order-by", default="", help="Such as `create_time desc`."),
        click.option("--filter", "filter_", default="", help="AIP-160, such as `tags:style AND rank > 8`."),
    ):
        function = option(function)
    return function


def confirmed(function: F) -> F:
    """Asks before something is deleted, unless `--yes`."""
    return click.confirmation_option("--yes", prompt="Delete it?", help="Do not ask.")(function)
