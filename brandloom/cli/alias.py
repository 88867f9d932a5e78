"""`brandloom alias`."""

from __future__ import annotations

import click

from brandloom import Lora
from brandloom.cli.framework import Group
from brandloom.cli.session import Session, pass_session


@click.group(cls=Group)
def alias() -> None:
    """Names such as `prod` that point to a version and can be moved."""


@alias.command("set")
@click.argument("lora")
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@pass_session
def set_alias(session: Session, lora: str, name: str, version: int) -> None:
    """Point NAME of a LoRA (BRAND/LORA) to a version number."""
    session.show(session.client.loras.set_alias(lora, name, version), _aliases)


@alias.command("delete")
@click.argument("lora")
@click.argument("name")
@pass_session
def delete_alias(session: Session, lora: str, name: str) -> None:
    """Take NAME away; the version stays."""
    session.show(session.client.loras.delete_alias(lora, name), _aliases)


def _aliases(lora: Lora) -> str:
    lines = [f"{lora.name}@{name} -> version {number}" for name, number in sorted(lora.aliases.items())]
    return "\n".join(lines) or f"{lora.name} has no alias"
