"""`brandloom sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from brandloom import GenerationProgress, Queued, SweepCell, SweepSheet
from brandloom._arguments import MAX_SEED
from brandloom.cli.framework import Command
from brandloom.cli.generate import tell_queued
from brandloom.cli.picture_options import picture_options, picture_settings
from brandloom.cli.progress import counting
from brandloom.cli.session import Session, pass_session

SHEET: Final = "sheet.png"
_MAX_SEEDS: Final = 64


class SeedsParameter(click.ParamType[tuple[int, ...]]):
    """`7`, `1-4` or `1-4,9`."""

    name = "SEEDS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The seeds in the order given; a usage error for a text that names none."""
        if isinstance(value, tuple):
            return value
        seeds: list[int] = []
        for part in value.split(","):
            first, dash, last = part.strip().partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()):
                raise click.BadParameter(f"{part!r} is no seed: write 7, 1-4 or 1-4,9", ctx, param)
            until = int(last) if dash else int(first)
            if until < int(first):
                raise click.BadParameter(f"{part!r} goes backward: write {last}-{first}", ctx, param)
            if until > MAX_SEED:
                raise click.BadParameter(f"{until} is above {MAX_SEED}, the largest seed", ctx, param)
            if until - int(first) >= _MAX_SEEDS or len(seeds) > _MAX_SEEDS:
                raise click.BadParameter(f"at most {_MAX_SEEDS} seeds make a sweep", ctx, param)
            seeds += range(int(first), until + 1)
        return tuple(seeds)


class FactorsParameter(click.ParamType[tuple[float, ...]]):
    """`0,0.5,1`."""

    name = "FACTORS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """The factors; a usage error for a text that is no number."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} are no numbers: write 0,0.5,1", ctx, param) from None


@click.command(cls=Command)
@click.argument("brand")
@click.argument("prompts", nargs=-1, required=True)
@click.option(
    "--seeds", type=SeedsParameter(), default=(), help="Such as 1-4,9 (default: one that is drawn)."
)
@click.option(
    "--weights",
    type=FactorsParameter(),
    default=(),
    help="Factors on every weight of the stack, such as 0,0.5,1 (default: 1).",
)
@picture_options
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sweep"),
    show_default=True,
    help="Folder for the sheet and the cells.",
)
@click.option("--sheet-only", is_flag=True, help="Keep sheet.png alone, not each cell.")
@pass_session
def sweep(
    session: Session,
    /,
    brand: str,
    prompts: tuple[str, ...],
    seeds: tuple[int, ...],
    weights: tuple[float, ...],
    output: Path,
    sheet_only: bool,
    **options: Any,
) -> None:
    """Make a picture for every prompt, seed and weight, and one labelled sheet of all.

    \b
    brandloom sweep acme 'a cat' 'a boat' --lora hero --seeds 1-4 --weights 0,0.5,1
    """
    settings = picture_settings(**options)
    if weights and "stack" not in settings and not any("<lora:" in prompt for prompt in prompts):
        raise click.UsageError("--weights are factors on LoRAs, but neither --lora nor a prompt names one")
    output.mkdir(parents=True, exist_ok=True)
    events = session.client.images.sweep(brand, prompts, seeds=seeds, weights=weights, **settings)
    cells: list[dict[str, object]] = []
    sheet = output / SHEET
    request: Queued | None = None
    with counting(session, "sweeping", unit="steps") as report:
        for event in events:
            match event:
                case Queued():
                    request = event
                    tell_queued(session, event, " ".join(prompts), settings)
                case GenerationProgress():
                    report(event.step, event.total_steps)
                case SweepCell():
                    cells.append(_kept(event, weights, None if sheet_only else output))
                case SweepSheet():
                    sheet.write_bytes(event.png)
    withheld = sum(1 for cell in cells if cell["withheld"])
    if withheld:
        session.note(f"{withheld} pictures were withheld by the service's safety checker")
    session.show(
        {"sheet": sheet, "cells": cells, "request": request},
        lambda result: f"{sheet}: {len(cells)} pictures",
    )


def _kept(cell: SweepCell, weights: tuple[float, ...], folder: Path | None) -> dict[str, object]:
    image = cell.image
    weight = weights[cell.weight_index] if weights else 1.0
    path: Path | None = None
    if folder is not None and not image.withheld:
        path = image.save(
            folder / f"prompt-{cell.prompt_index:02d}-seed-{image.seed}-weight-{weight:.9g}.png"
        )
    return {
        "prompt_index": cell.prompt_index,
        "seed": image.seed,
        "weight_index": cell.weight_index,
        "weight": weight,
        "path": path,
        "sha256": image.sha256,
        "withheld": image.withheld,
    }
