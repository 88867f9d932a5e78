"""`brandloom generate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from brandloom import (
    Box,
    Composition,
    GeneratedImage,
    GenerationEvent,
    GenerationProgress,
    Mask,
    PictureSettings,
    Preview,
    Queued,
    StackEntry,
    StepWindow,
)
from brandloom._names import short
from brandloom.cli.framework import Command
from brandloom.cli.lora_parts import parts_of_entry
from brandloom.cli.picture_options import checked_seeds, picture_options, picture_settings
from brandloom.cli.progress import counting
from brandloom.cli.session import Session, pass_session, table


@click.command(cls=Command)
@click.argument("brand")
@click.argument("prompt")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 64), help="Pictures to make.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Picture i uses seed + i.")
@picture_options
@click.option(
    "--preview-every",
    type=click.IntRange(1, 150),
    help="Write a small preview after every so many steps (with --previews-dir).",
)
@click.option(
    "--previews-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for previews: 00-step-005.png (default interval: 5 steps).",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="A folder, or a .png for one (default: this folder).",
)
@click.option("--overwrite", is_flag=True, help="Although the .png is there already.")
@pass_session
def generate(
    session: Session,
    /,
    brand: str,
    prompt: str,
    count: int,
    seed: int | None,
    preview_every: int | None,
    previews_dir: Path | None,
    output: Path,
    overwrite: bool,
    **options: Any,
) -> None:
    """Make pictures with a stack of LoRAs.

    \b
    brandloom generate acme '<lora:hero:0.6> riding a motorcycle' --count 4
    brandloom generate acme 'a cat' --lora hero:0.8:steps=0-60% --lora neon:box=50%,0,100%,100%
    """
    _check_output(output, count, overwrite)
    checked_seeds(seed, count)
    if preview_every and previews_dir is None:
        raise click.UsageError("--preview-every needs --previews-dir, where the previews go")
    settings = picture_settings(**options)
    if output.suffix.lower() != ".png":
        output.mkdir(parents=True, exist_ok=True)
    if previews_dir is not None:
        previews_dir.mkdir(parents=True, exist_ok=True)
    events = session.client.images.stream(
        brand,
        prompt,
        count=count,
        seed=seed,
        preview_every=(preview_every or _PREVIEW_STEPS) if previews_dir else 0,
        **settings,
    )
    made, previews, request = _made(session, events, prompt, settings, output, previews_dir or output)
    session.show(
        {"images": made, "previews": previews, "request": request},
        lambda result: table(("picture", "seed"), [(image["path"], image["seed"]) for image in made]),
    )


def _made(
    session: Session,
    events: Iterator[GenerationEvent],
    prompt: str,
    settings: PictureSettings,
    output: Path,
    previews_dir: Path,
) -> tuple[list[dict[str, object]], list[Path], Queued | None]:
    """The pictures and previews that were saved, and what the request came to."""
    made: list[dict[str, object]] = []
    previews: list[Path] = []
    request: Queued | None = None
    with counting(session, "generating", unit="steps") as report:
        for event in events:
            match event:
                case Queued():
                    request = event
                    tell_queued(session, event, prompt, settings)
                case GenerationProgress():
                    report(event.step, event.total_steps)
                case Preview():
                    previews.append(event.save(previews_dir))
                case GeneratedImage():
                    made.append(_kept(session, event, output))
    return made, previews, request


_PREVIEW_STEPS = 5


def _check_output(output: Path, count: int, overwrite: bool) -> None:
    if output.is_dir() or not output.suffix:
        return
    if output.suffix.lower() != ".png":
        raise click.UsageError(
            f"--output: {output} is no .png, and no folder that is there; pictures are PNG"
        )
    if count > 1:
        raise click.UsageError("--output names one file, but --count asks for several pictures")
    if output.exists() and not overwrite:
        raise click.UsageError(f"--output: {output} exists already; --overwrite replaces it")


def _kept(session: Session, image: GeneratedImage, output: Path) -> dict[str, object]:
    if image.withheld:
        session.note(f"the picture of seed {image.seed} was withheld by the service's safety checker")
        return {"path": "(withheld)", "seed": image.seed, "sha256": "", "withheld": True}
    return {"path": image.save(output), "seed": image.seed, "sha256": image.sha256}


def tell_queued(session: Session, event: Queued, prompt: str, settings: PictureSettings) -> None:
    """How many wait before a request, and the LoRAs that it uses, as its prompt and settings name them."""
    if event.position:
        session.note(f"{event.position} requests before this one")
    entries = [entry for entry in settings.get("stack", ()) if isinstance(entry, StackEntry)]
    references = [lora.reference for lora in event.stack]
    parts = {reference: _parts(prompt, entries, reference) for reference in references}
    for lora in event.stack:
        text_encoder = lora.text_encoder_weight
        apart = "" if text_encoder == lora.weight else f" ({text_encoder:g} in the text encoder)"
        own = parts[lora.reference]
        # A sweep tells each LoRA once, whatever it is used for.
        told = [part for part in own if part] if references.count(lora.reference) == 1 else own[:1]
        del own[:1]
        session.note(" ".join([f"with {short(lora.version)} at {lora.weight:g}{apart}", *told]).rstrip())
    composition = settings.get("composition", Composition.UNSPECIFIED)
    if composition is Composition.SWITCH:
        session.note(f"composition switch, {settings.get('switch_every') or 1} steps each")
    elif composition is Composition.COMPOSITE:
        session.note("composition composite")


def _parts(prompt: str, entries: Sequence[StackEntry], reference: str) -> list[str]:
    """Where and when each use of a LoRA works, in the service's order: tags come first, and what differs in
    its weight alone is one use.
    """
    uses: dict[tuple[StepWindow | None, Box | Mask | None], str] = {}
    if f"<lora:{reference}:" in prompt or f"<lora:{reference}>" in prompt:
        uses[None, None] = ""
    for entry in entries:
        if entry.reference == reference:
            uses[entry.window, entry.region] = parts_of_entry(entry)
    return list(uses.values())
