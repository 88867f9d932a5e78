"""What all commands share: the connection, made when it is first needed, and the way results are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

import brandloom
from brandloom.cli.plain import plain, visible

T = TypeVar("T")

# A pipe has no width: nothing is to be cut off or wrapped there.
_PIPE_WIDTH = 4096


@dataclass
class Session:
    """State of one run of the command."""

    json: bool = False
    addresses: dict[str, str | None] = field(default_factory=dict)
    home: str | None = None
    timeout_seconds: float = 60.0

    @cached_property
    def client(self) -> brandloom.Client:
        """The connection; closed with the command."""
        client = brandloom.connect(**self.connection())
        click.get_current_context().find_root().call_on_close(client.close)
        return client

    def connection(self) -> dict[str, Any]:
        """Arguments of `brandloom.connect`, for commands that need an asynchronous client."""
        return {**self.addresses, "home": self.home, "timeout_seconds": self.timeout_seconds}

    @cached_property
    def out(self) -> Console:
        """Where results go."""
        return _console(stderr=False)

    @cached_property
    def notes(self) -> Console:
        """Where progress and remarks go, so that results can be piped."""
        return _console(stderr=True)

    @property
    def live(self) -> bool:
        """Whether a person is watching: bars and tables that move make sense."""
        return self.notes.is_terminal and not self.json

    def note(self, text: str) -> None:
        """A remark on what is going on; silent with --json."""
        if not self.json:
            self.notes.print(visible(text), highlight=False, markup=False)

    def show(self, value: T, render: Callable[[T], Any]) -> None:
        """A result: as JSON with --json, else as `render` makes it."""
        if self.json:
            self.write_json(value)
        else:
            self.print(render(value))

    def print(self, result: Any) -> None:
        """Something for people on stdout; in a pipe without the blanks that fill up a table's lines."""
        if isinstance(result, str):
            result = Text(visible(result))
        if self.out.is_terminal:
            self.out.print(result, highlight=False)
            return
        with self.out.capture() as captured:
            self.out.print(result, highlight=False)
        for line in captured.get().splitlines():
            click.echo(line.rstrip())

    def deleted(self, name: str) -> None:
        """Something is gone; with --json a document says so."""
        if self.json:
            self.write_json({"deleted": name})
        else:
            self.note(f"deleted {name}")

    def write_json(self, value: Any) -> None:
        """One JSON document on stdout."""
        click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2))

    def write_json_line(self, value: Any) -> None:
        """One JSON object on a line of its own, at once: for events."""
        click.echo(json.dumps(plain(value), ensure_ascii=False))
        sys.stdout.flush()

    def show_list(
        self,
        items: Iterable[T],
        columns: Sequence[str],
        row: Callable[[T], Sequence[object]],
        *,
        limit: int | None = None,
    ) -> None:
        """A list: a JSON array with --json, else a table."""
        found = list(islice(items, limit))
        if self.json:
            self.write_json(found)
            return
        if not found:
            self.note("nothing found")
            return
        self.print(table(columns, [row(item) for item in found]))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of text; names are never cut off."""
    result = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        # The first one is the name, which people copy: it stays on one line as long as that can be.
        result.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        result.add_row(*(_cell(cell) for cell in row))
    return result


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """One resource: a line for each fact that is there."""
    result = Table.grid(padding=(0, 2))
    result.add_column(style="dim", no_wrap=True)
    result.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", (), [], {}):
            result.add_row(name, _cell(value))
    return result


def _cell(value: object) -> Any:
    if isinstance(value, Text | Table):
        return value
    return Text("" if value is None else visible(str(value)))


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, soft_wrap=False)
    return console if console.is_terminal else Console(stderr=stderr, width=_PIPE_WIDTH, no_color=True)


pass_session = click.make_pass_decorator(Session, ensure=True)
