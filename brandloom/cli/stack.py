"""`brandloom stack`, and stacks as arguments."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from brandloom import ExportPrecision, Pin, StackEntry, parse_stack_entry
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.plain import moment, size, words
from brandloom.cli.progress import transfer
from brandloom.cli.session import Session, pass_session, table
from brandloom.errors import ConfigurationError

_DURATION: Final = re.compile(r"(?P<count>\d{1,6})(?P<unit>[smhd])")
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST_PIN: Final = timedelta(days=1)
_PRECISIONS = [member.lower() for member in ExportPrecision if member is not ExportPrecision.UNSPECIFIED]


class StackParameter(click.ParamType[StackEntry]):
    """`hero`, `hero@prod:0.6`, `hero:0.6:steps=20%-80%` ...: what `brandloom.parse_stack_entry` reads."""

    name = "LORA[:WEIGHT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> StackEntry:
        """The entry; a usage error saying what cannot be read."""
        if isinstance(value, StackEntry):
            return value
        try:
            return parse_stack_entry(value)
        except ConfigurationError as error:
            raise click.BadParameter(str(error), ctx, param) from None


class DurationParameter(click.ParamType[timedelta]):
    """`90s`, `15m`, `2h` or `1d`."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration; a usage error for a text that is none."""
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(value)
        if match is None:
            raise click.BadParameter(f"{value!r} is no duration: write 90s, 15m, 2h or 1d", ctx, param)
        duration = int(match["count"]) * _UNITS[match["unit"]]
        if not timedelta(0) < duration <= _LONGEST_PIN:
            raise click.BadParameter(f"{value} is not from 1s to 1d", ctx, param)
        return duration


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


@stack.command()
@click.argument("brand")
@click.argument("entries", nargs=-1, required=True, type=StackParameter(), metavar="LORA[:WEIGHT]...")
@click.option("--base-model", default="", help="Name of a base model (default: the service's own).")
@click.option("--precision", type=click.Choice(_PRECISIONS), help="Of the file's numbers (default: float16).")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="A file, or a folder for the stack's own name (default: this folder).",
)
@pass_session
def export(
    session: Session,
    brand: str,
    entries: tuple[StackEntry, ...],
    base_model: str,
    precision: str | None,
    output: Path,
) -> None:
    """Write a stack as one LoRA file for other tools.

    \b
    brandloom stack export acme hero@prod:0.8 neon:0.6 --output hero-neon.safetensors
    """
    if not output.suffix:
        output.mkdir(parents=True, exist_ok=True)
    elif output.suffix.lower() != ".safetensors" and not output.is_dir():
        raise click.UsageError(f"--output: {output} is no .safetensors, and no folder that is there")
    with transfer(session, "exporting") as report:
        path = session.client.stacks.export(
            brand,
            entries,
            output,
            base_model=base_model,
            precision=ExportPrecision(precision.upper()) if precision else ExportPrecision.UNSPECIFIED,
            on_progress=report,
        )
    session.show({"path": path}, lambda result: str(path))


@stack.command()
@click.argument("brand")
@click.argument("entries", nargs=-1, required=True, type=StackParameter(), metavar="LORA[:WEIGHT]...")
@click.option("--for", "duration", type=DurationParameter(), help="How long: 90s, 15m, 2h; at most 1d.")
@click.option("--release", is_flag=True, help="Let go of it instead.")
@click.option("--base-model", default="", help="Name of a base model (default: the service's own).")
@pass_session
def pin(
    session: Session,
    brand: str,
    entries: tuple[StackEntry, ...],
    duration: timedelta | None,
    release: bool,
    base_model: str,
) -> None:
    """Keep a stack's files loaded for a time, so that its next picture starts at once."""
    if release == (duration is not None):
        raise click.UsageError("give either --for or --release")
    kept = session.client.stacks.pin(
        brand, entries, time_to_live=duration or timedelta(0), base_model=base_model
    )
    session.show(kept, _pinned)


def _pinned(kept: Pin) -> str:
    stack = " + ".join(f"{short(used.version)} at {used.weight:g}" for used in kept.stack)
    if kept.expire_time:
        return f"{stack}: kept until {moment(kept.expire_time)}"
    return f"{stack}: not kept" if stack else "it was not pinned: there is nothing to let go of"
