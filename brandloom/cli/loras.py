"""`brandloom loras`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import click

from brandloom import Change, ChangeKind, Lora
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.options import changes, confirmed, guarded, listing, new_tags, retagged
from brandloom.cli.plain import moment, words
from brandloom.cli.session import Session, facts, pass_session

_COLUMNS = ("LoRA", "family", "version", "aliases", "trigger words", "tags", "updated")


@click.group(cls=Group)
def loras() -> None:
    """LoRAs: named lines of versions."""


@loras.command()
@click.argument("lora")
@click.option("--display-name", default="", help="A name for people.")
@click.option("--description", default="", help="What it is and what it is for.")
@click.option("--tag", "tags", multiple=True, help="Repeatable.")
@pass_session
def create(session: Session, lora: str, display_name: str, description: str, tags: tuple[str, ...]) -> None:
    """Make an empty LoRA (BRAND/LORA); training and uploads make theirs themselves."""
    made = session.client.loras.create(lora, display_name=display_name, description=description, tags=tags)
    session.show(made, _facts)


@loras.command("list")
@click.argument("brand")
@listing
@pass_session
def list_loras(session: Session, brand: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List a brand's LoRAs."""
    found = session.client.loras.list(brand, filter=filter_, order_by=order_by)
    session.show_list(found, _COLUMNS, _row, limit=limit)


@loras.command()
@click.argument("query", default="")
@listing
@pass_session
def search(session: Session, query: str, filter_: str, order_by: str, limit: int | None) -> None:
    """Find LoRAs of all brands by words in their names, descriptions, tags and trigger words."""
    found = session.client.loras.search(query, filter=filter_, order_by=order_by)
    session.show_list(found, _COLUMNS, _row, limit=limit)


@loras.command()
@click.argument("lora")
@pass_session
def get(session: Session, lora: str) -> None:
    """Show a LoRA (BRAND/LORA)."""
    session.show(session.client.loras.get(lora), _facts)


@loras.command()
@click.argument("lora")
@click.option("--display-name", help="A name for people.")
@click.option("--description", help="What it is and what it is for.")
@retagged
@guarded
@pass_session
def update(
    session: Session,
    lora: str,
    display_name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    no_tags: bool,
    etag: str,
) -> None:
    """Change a LoRA's texts and tags."""
    wanted = changes(display_name=display_name, description=description, tags=new_tags(tags, no_tags))
    session.show(session.client.loras.update(lora, etag=etag, **wanted), _facts)


@loras.command()
@click.argument("lora")
@click.option("--force", is_flag=True, help="With its versions and aliases.")
@confirmed
@guarded
@pass_session
def delete(session: Session, lora: str, force: bool, etag: str) -> None:
    """Delete a LoRA."""
    session.client.loras.delete(lora, force=force, etag=etag)
    session.deleted(lora)


@loras.command()
@click.argument("brand", required=False)
@click.option(
    "--after",
    "after_sequence",
    type=click.IntRange(min=0),
    help="Changes after this number first, 0 for all; else only those from now on.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many.")
@pass_session
def watch(session: Session, brand: str | None, after_sequence: int | None, limit: int | None) -> None:
    """Follow changes to LoRAs of a brand, or of all brands, and to base models, until Ctrl-C.

    A broken connection is made again, and no change is lost.
    """
    after = -1 if after_sequence is None else after_sequence
    for change in islice(session.client.loras.watch(brand, after_sequence=after), limit):
        if session.json:
            session.write_json_line(change)
        else:
            click.echo(_change_line(change))


def _change_line(change: Change) -> str:
    lora = short(change.lora or change.resource)
    match change.kind:
        case ChangeKind.VERSION_ADDED:
            what = f"{lora}@{change.version} is new"
        case ChangeKind.ALIAS_SET:
            what = f"{lora}@{change.alias} -> {lora}@{change.version}"
        case ChangeKind.ALIAS_DELETED:
            what = f"{lora}@{change.alias} is gone"
        case kind:
            what = f"{lora}: {kind.lower().replace('_', ' ')}"
    return f"{change.sequence}  {moment(change.time)}  {what}"


def _aliases(lora: Lora) -> str:
    return words([f"{alias} -> {number}" for alias, number in sorted(lora.aliases.items())])


def _row(lora: Lora) -> Sequence[object]:
    return (
        short(lora.name),
        lora.family,
        lora.latest_version or "none",
        _aliases(lora),
        words(lora.trigger_words),
        words(lora.tags),
        moment(lora.update_time),
    )


def _facts(lora: Lora) -> Any:
    return facts(
        [
            ("name", lora.name),
            ("display name", lora.display_name),
            ("description", lora.description),
            ("family", lora.family),
            ("newest version", lora.latest_version or "none yet"),
            ("aliases", _aliases(lora)),
            ("trigger words", words(lora.trigger_words)),
            ("tags", words(lora.tags)),
            ("created", moment(lora.create_time)),
            ("updated", moment(lora.update_time)),
        ]
    )
