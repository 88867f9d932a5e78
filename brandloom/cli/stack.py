"""`brandloom stack`, and stacks as arguments."""

from __future__ import annotations

from typing import Any

import click

from brandloom import StackEntry
from brandloom.cli.framework import Group
from brandloom.cli.plain import size, words
from brandloom.cli.session import Session, pass_session, table


class StackParameter(click.ParamType[StackEntry]):
    """`hero`, `hero@prod:0.6`, `hero:0.6:0.3` (of two weights the text encoder's is the first)."""

    name = "LORA[:WEIGHT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> StackEntry:
        """The entry; a usage error when a weight is no number."""
        if isinstance(value, StackEntry):
            return value
        reference, *weights = value.split(":")
        try:
            numbers = [float(weight) for weight in weights]
        except ValueError:
            raise click.BadParameter(f"{value!r}: a weight must be a number", ctx, param) from None
        match numbers:
            case []:
                return StackEntry(reference)
            case [weight]:
                return StackEntry(reference, weight)
            case [text_encoder_weight, weight]:
                return StackEntry(reference, weight, text_encoder_weight)
        raise click.BadParameter(
            f"{value!r} is not LORA, LORA:WEIGHT or LORA:TEXT_ENCODER_WEIGHT:UNET_WEIGHT", ctx, param
        )


@click.group(cls=Group)
def stack() -> None:
    """Stacks of LoRAs."""


@stack.command()
@click.argument("brand")
@click.argument("references", nargs=-1, required=True)
@click.option("--base-model", default="", help="Base that all must fit.")
@pass_session
def resolve(session: Session, brand: str, references: tuple[str, ...], base_model: str) -> None:
    """Show the versions and files that references (hero, hero@prod, hero@3, other/hero) mean now."""
    resolved = session.client.stacks.resolve(brand, references, base_model=base_model)
    session.show(
        resolved,
        lambda result: table(
            ("reference", "version", "rank", "components", "trigger words", "size", "sha256"),
            [
                (
                    lora.reference,
                    lora.version,
                    lora.rank,
                    words(lora.components),
                    words(lora.trigger_words),
                    size(lora.artifact.size_bytes),
                    lora.artifact.sha256[:12],
                )
                for lora in result.loras
            ],
        ),
    )
