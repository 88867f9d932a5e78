"""Groups and commands of click, each with `--json`."""

from __future__ import annotations

from typing import Any

import click

from brandloom.cli.session import Session


class Command(click.Command):
    """A command that takes `--json`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_json_option())


class Group(click.Group):
    """A group whose commands take `--json`, and which takes it itself."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_json_option())


def _json_option() -> click.Option:
    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_switch_json_on,
        help="Print JSON: one document, or one event a line; an error is a line on stderr.",
    )


def _switch_json_on(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
    if chosen:
        context.ensure_object(Session).json = True
