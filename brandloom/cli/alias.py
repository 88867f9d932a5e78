"""`brandloom alias`."""

from __future__ import annotations

import click

from brandloom import Lora
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.options import guarded
from brandloom.cli.session import Session, pass_session


@click.group(cls=Group)
def alias() -> None:
    """Movable names of versions, such as `prod`."""


@alias.command("list")
@click.argument("lora")
@pass_session
def list_aliases(session: Session, lora: str) -> None:
    """List the aliases of a LoRA (BRAND/LORA)."""
    found = session.client.loras.get(lora)
    pairs = [{"alias": name, "version": number} for name, number in sorted(found.aliases.items())]
    name = short(found.name)
    session.show_list(
        pairs,
        ("reference", "version"),
        lambda pair: (f"{name}@{pair['alias']}", f"{name}@{pair['version']}"),
    )


@alias.command("set")
@click.argument("lora")
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@guarded
@pass_session
def set_alias(session: Session, lora: str, name: str, version: int, etag: str) -> None:
    """Point NAME of a LoRA (BRAND/LORA) to a version number."""
    session.show(session.client.loras.set_alias(lora, name, version, etag=etag), _aliases)


@alias.command("delete")
@click.argument("lora")
@click.argument("name")
@guarded
@pass_session
def delete_alias(session: Session, lora: str, name: str, etag: str) -> None:
    """Take NAME away; the version stays."""
    session.show(session.client.loras.delete_alias(lora, name, etag=etag), _aliases)


def _aliases(lora: Lora) -> str:
    name = short(lora.name)
    lines = [f"{name}@{alias_name} -> {name}@{number}" for alias_name, number in sorted(lora.aliases.items())]
    return "\n".join(lines) or f"{name} has no alias"
