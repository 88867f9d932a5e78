"""`brandloom loras`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from brandloom import Lora
from brandloom.cli.framework import Group
from brandloom.cli.options import confirmed, listing
from brandloom.cli.plain import moment, words
from brandloom.cli.session import Session, facts, pass_session

_COLUMNS = ("LoRA", "family", "version", "aliases", "trigger words", "tags", "updated")


@click.group(cls=Group)
def loras() -> None:
    """LoRAs: named lines of versions."""


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
@click.option("--display-name")
@click.option("--description")
@click.option("--tag", "tags", multiple=True, help="All tags that it shall have; repeatable.")
@pass_session
def update(
    session: Session, lora: str, display_name: str | None, description: str | None, tags: tuple[str, ...]
) -> None:
    """Change a LoRA's texts and tags."""
    changed = session.client.loras.update(
        lora, display_name=display_name, description=description, tags=tags or None
    )
    session.show(changed, _facts)


@loras.command()
@click.argument("lora")
@click.option("--force", is_flag=True, help="With its versions and aliases.")
@confirmed
@pass_session
def delete(session: Session, lora: str, force: bool) -> None:
    """Delete a LoRA."""
    session.client.loras.delete(lora, force=force)
    session.note(f"deleted {lora}")


def _aliases(lora: Lora) -> str:
    return words([f"{alias} -> {number}" for alias, number in sorted(lora.aliases.items())])


def _row(lora: Lora) -> Sequence[object]:
    return (
        lora.name,
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
