"""`brandloom generate-batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brandloom import BatchResult, read_batch
from brandloom.cli import exit_codes
from brandloom.cli.framework import Command
from brandloom.cli.picture_options import checked_seeds, picture_options, picture_settings
from brandloom.cli.progress import counting
from brandloom.cli.session import Session, pass_session


@click.command(cls=Command)
@click.argument("brand")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures and results.jsonl.",
)
@click.option("--count", type=click.IntRange(1, 64), help="Pictures of each prompt (default: 1).")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of each prompt (default: drawn).")
@picture_options
@click.option(
    "--in-flight", default=8, show_default=True, type=click.IntRange(1, 256), help="Requests at a time."
)
@click.option(
    "--patience",
    default=600.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds to try a prompt again while the service has no room.",
)
@pass_session
def generate_batch(
    session: Session,
    /,
    brand: str,
    file: Path,
    folder: Path,
    count: int | None,
    seed: int | None,
    in_flight: int,
    patience: float,
    **options: Any,
) -> None:
    """Make the pictures of a file of prompts; run it again to make only what is missing.

    FILE is JSON Lines (.jsonl: objects with `prompt` and settings of their own), CSV with a header (.csv), or
    plain text with a prompt on each line. What a line says overrides the options.

    \b
    brandloom generate-batch acme prompts.csv --out pictures --lora hero@prod:0.8 --steps 30
    """
    checked_seeds(seed, count)
    settings = picture_settings(**options)
    lines = read_batch(file)
    results = session.client.images.batch(
        brand,
        lines,
        folder,
        in_flight=in_flight,
        patience_seconds=patience,
        count=count or 1,
        seed=seed,
        **settings,
    )
    made, before, failed = 0, 0, 0
    with counting(session, "batch", unit="prompts") as report:
        for done, result in enumerate(results, start=1):
            failed += result.error is not None
            before += result.made_before
            made += result.error is None and not result.made_before
            _tell(session, result)
            report(done, len(lines))
    session.note(f"{made} made, {before} made before, {failed} failed: see {folder / 'results.jsonl'}")
    if failed:
        click.get_current_context().exit(exit_codes.FAILED)


def _tell(session: Session, result: BatchResult) -> None:
    if session.json:
        session.write_json_line(result)
    elif result.error is not None:
        session.note(f"line {result.line}: {result.error.message} ({result.error.reason})")
    elif any(image.withheld for image in result.images):
        session.note(f"line {result.line}: withheld by the service's safety checker")
