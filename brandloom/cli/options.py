"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def guarded(function: F) -> F:
    """`--etag`, for commands that must not overwrite what somebody else has just changed."""
    return click.option(
        "--etag", default="", help="Only if it still has this etag, which --json shows; else exit with 6."
    )(function)


def retagged(function: F) -> F:
    """`--tag` and `--no-tags`, for commands that change the tags of something."""
    for option in (
        click.option("--no-tags", is_flag=True, help="Take all tags away."),
        click.option("--tag", "tags", multiple=True, help="A tag to have, in place of all it has."),
    ):
        function = option(function)
    return function


def new_tags(tags: Sequence[str], no_tags: bool) -> Sequence[str] | None:
    """What `retagged` was given: all the tags there shall be, or None to leave them."""
    if tags and no_tags:
        raise click.UsageError("--tag and --no-tags exclude each other")
    return () if no_tags else tuple(tags) or None


def changes(**values: Any) -> dict[str, Any]:
    """The values that were given; a usage error when there are none."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise click.UsageError("nothing to change: give at least one option")
    return given
