"""`brandloom texts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from brandloom import Text
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.held_out import hold_out_texts
from brandloom.cli.options import changes, confirmed, guarded, listing
from brandloom.cli.plain import moment
from brandloom.cli.progress import transfer
from brandloom.cli.session import Session, facts, pass_session

_SPLITS: Final = click.Choice(["train", "validation"])
_SHOWN_CHARACTERS: Final = 60


@click.group(cls=Group)
def texts() -> None:
    """Texts of datasets, for language models to learn from.

    A TEXT goes by BRAND/DATASET/ID, as `list` shows it.
    """


@texts.command()
@click.argument("dataset")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--split", type=_SPLITS, help="What all lines are for (default: as they say, else train).")
@click.option(
    "--validation-split",
    type=click.FloatRange(0.0, 1.0, max_open=True),
    default=0.0,
    help="Share of the dataset's texts to hold out for evaluations, such as 0.1.",
)
@pass_session
def upload(session: Session, dataset: str, path: Path, split: str | None, validation_split: float) -> None:
    """Upload a file of JSON Lines: all its texts or none; sending them again changes nothing.

    A line is {"prompt": ..., "response": ...} or {"messages": [{"role": ..., "content": ...}, ...]}, with
    "split" (train or validation) if it likes; all lines of a dataset have the same form.
    """
    with transfer(session, f"uploading {path.name}") as report:
        done = session.client.texts.upload(dataset, path, split=split or "", on_progress=report)
    session.show(done, lambda result: f"{result.added_count} added, {result.unchanged_count} unchanged")
    if validation_split > 0.0:
        count = hold_out_texts(session.client, dataset, validation_split)
        session.note(f"texts held out for validation: {count}")


@texts.command("list")
@click.argument("dataset")
@listing
@pass_session
def list_texts(session: Session, dataset: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List a dataset's texts, such as --filter 'response:"see you"'."""
    session.show_list(
        session.client.texts.list(dataset, filter=filter_, order_by=order_by),
        ("text", "line", "split", "asked", "answered"),
        lambda text: (
            short(text.name),
            _origin(text),
            _use(text),
            _start(_turns(text)[0][1]),
            _start(_turns(text)[-1][1]),
        ),
        limit=limit,
    )


@texts.command()
@click.argument("text")
@pass_session
def get(session: Session, text: str) -> None:
    """Show a text with its origin."""
    session.show(session.client.texts.get(text), _facts)


@texts.command()
@click.argument("text")
@click.option("--split", type=_SPLITS, help="What it is used for.")
@click.option("--exclude/--include", "excluded", default=None, help="Whether revisions leave it out.")
@guarded
@pass_session
def update(session: Session, text: str, split: str | None, excluded: bool | None, etag: str) -> None:
    """Change a text's split, or whether revisions leave it out."""
    wanted = changes(split=split, excluded=excluded)
    session.show(session.client.texts.update(text, etag=etag, **wanted), _facts)


@texts.command()
@click.argument("text")
@confirmed
@guarded
@pass_session
def delete(session: Session, text: str, etag: str) -> None:
    """Take a text out of its dataset; sealed revisions keep it."""
    session.client.texts.delete(text, etag=etag)
    session.deleted(text)


def _turns(text: Text) -> list[tuple[str, str]]:
    if text.messages:
        return [(message.role, message.content) for message in text.messages]
    return [("prompt", text.prompt), ("response", text.response)]


def _start(content: str) -> str:
    line = " ".join(content.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 3] + "..."


def _origin(text: Text) -> str:
    return f"{text.source_name}:{text.line_number}"


def _use(text: Text) -> str:
    return f"{text.split}, excluded" if text.excluded else text.split


def _facts(text: Text) -> Any:
    return facts(
        [
            ("name", text.name),
            *_turns(text),
            ("line", _origin(text)),
            ("split", _use(text)),
            ("sha256", text.sha256),
            ("uploaded", moment(text.create_time)),
        ]
    )
