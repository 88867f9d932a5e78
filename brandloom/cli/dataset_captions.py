"""Captions of a whole dataset: edited at once, and taken from files."""

from __future__ import annotations

from pathlib import Path

import click

from brandloom import CaptionFormat
from brandloom.cli.framework import Command
from brandloom.cli.progress import transfer
from brandloom.cli.session import Session, pass_session


@click.command("edit-captions", cls=Command)
@click.argument("dataset")
@click.option("--trigger-word", help="Put before captions that do not have it, followed by a comma.")
@click.option("--prefix", help="Put before every caption as it is.")
@click.option("--suffix", help="Put after every caption as it is.")
@click.option("--find", help="Text to replace.")
@click.option("--replace", "replacement", default="", help="What --find becomes.")
@click.option("--ignore-case", is_flag=True, help="For --find.")
@click.option("--whole-words", is_flag=True, help="Replace --find only where it stands as whole words.")
@click.option("--filter", "filter_", default="", help="Pictures to edit; all by default.")
@pass_session
def edit_captions(
    session: Session,
    dataset: str,
    trigger_word: str | None,
    prefix: str | None,
    suffix: str | None,
    find: str | None,
    replacement: str,
    ignore_case: bool,
    whole_words: bool,
    filter_: str,
) -> None:
    """One edit on many captions: all or none."""
    captions = session.client.captions
    if [trigger_word, prefix, suffix, find].count(None) != 3:
        raise click.UsageError("choose one of --trigger-word, --prefix, --suffix and --find")
    if trigger_word is not None:
        edit = captions.add_trigger_word(dataset, trigger_word, filter=filter_)
    elif prefix is not None:
        edit = captions.add_prefix(dataset, prefix, filter=filter_)
    elif suffix is not None:
        edit = captions.add_suffix(dataset, suffix, filter=filter_)
    else:
        edit = captions.replace(
            dataset,
            find or "",
            replacement,
            ignore_case=ignore_case,
            whole_words=whole_words,
            filter=filter_,
        )
    session.show(edit, lambda done: f"{done.changed_count} of {done.matched_count} captions changed")


@click.command("import", cls=Command)
@click.argument("dataset")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice([item.lower() for item in CaptionFormat]),
    help="Layout of the file (default: as its suffix tells).",
)
@click.option("--ignore-unknown", is_flag=True, help="Pass over rows that name no picture.")
@pass_session
def import_captions(
    session: Session, dataset: str, path: Path, format_: str | None, ignore_unknown: bool
) -> None:
    """Apply captions from metadata.csv, metadata.jsonl or a .zip of .txt files: all rows or none."""
    with transfer(session, f"importing {path.name}") as report:
        done = session.client.captions.import_file(
            dataset,
            path,
            format=CaptionFormat(format_.upper()) if format_ else None,
            ignore_unknown=ignore_unknown,
            on_progress=report,
        )
    session.show(
        done, lambda result: f"{result.changed_count} captions changed, {result.unknown_count} rows unknown"
    )
