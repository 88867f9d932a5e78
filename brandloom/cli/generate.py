"""`brandloom generate` and `brandloom capacity`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brandloom import (
    Capacity,
    GeneratedImage,
    GenerationProgress,
    Queued,
    Sampler,
    SigmaSchedule,
    StackEntry,
)
from brandloom._names import short
from brandloom.cli.framework import Command
from brandloom.cli.plain import size
from brandloom.cli.progress import counting
from brandloom.cli.session import Session, facts, pass_session, table
from brandloom.cli.stack import StackParameter

_SAMPLERS = [member.lower() for member in Sampler if member is not Sampler.UNSPECIFIED]


@click.command(cls=Command)
@click.argument("brand")
@click.argument("prompt")
@click.option(
    "--lora", "stack", multiple=True, type=StackParameter(), help="Repeatable: hero, hero@prod:0.6."
)
@click.option("--negative-prompt", default="", help="What shall not be in the picture.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 64), help="Pictures to make.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Picture i uses seed + i.")
@click.option("--steps", default=0, help="Denoising steps (default: 25).")
@click.option("--guidance", type=float, help="How much the prompt counts (default: 5).")
@click.option("--sampler", type=click.Choice(_SAMPLERS), help="Default: dpmpp_2m.")
@click.option("--karras", is_flag=True, help="Karras' spacing of the noise levels.")
@click.option("--width", default=0, help="Pixels, a multiple of 8 (default: the base's own).")
@click.option("--height", default=0, help="Pixels, a multiple of 8 (default: the base's own).")
@click.option("--clip-skip", default=0, help="Layers of the text encoder to skip from its end.")
@click.option("--base-model", default="", help="Name of a base model (default: the service's own).")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="A folder, or a .png for one (default: this folder).",
)
@pass_session
def generate(
    session: Session,
    /,
    brand: str,
    prompt: str,
    stack: tuple[StackEntry, ...],
    count: int,
    seed: int | None,
    guidance: float | None,
    sampler: str | None,
    karras: bool,
    output: Path,
    **settings: Any,
) -> None:
    """Make pictures with a stack of LoRAs.

    \b
    brandloom generate acme '<lora:hero:0.6> riding a motorcycle' --count 4
    """
    if output.suffix.lower() == ".png" and count > 1:
        raise click.UsageError("--output names one file, but --count asks for several pictures")
    if output.suffix.lower() != ".png":
        output.mkdir(parents=True, exist_ok=True)
    events = session.client.images.stream(
        brand,
        prompt,
        stack=stack,
        count=count,
        seed=seed,
        guidance_scale=guidance,
        sampler=Sampler(sampler.upper()) if sampler else Sampler.UNSPECIFIED,
        sigma_schedule=SigmaSchedule.KARRAS if karras else SigmaSchedule.UNSPECIFIED,
        **settings,
    )
    made: list[dict[str, object]] = []
    stack_used: Queued | None = None
    with counting(session, "generating") as report:
        for event in events:
            match event:
                case Queued():
                    stack_used = event
                    _tell(session, event)
                case GenerationProgress():
                    report(event.step, event.total_steps)
                case GeneratedImage():
                    path = event.save(output)
                    made.append({"path": path, "seed": event.seed, "sha256": event.sha256})
    session.show(
        {"images": made, "request": stack_used},
        lambda result: table(("picture", "seed"), [(image["path"], image["seed"]) for image in made]),
    )


def _tell(session: Session, event: Queued) -> None:
    if event.position:
        session.note(f"{event.position} requests before this one")
    for lora in event.stack:
        text_encoder = lora.text_encoder_weight
        apart = "" if text_encoder == lora.weight else f" ({text_encoder:g} in the text encoder)"
        session.note(f"with {short(lora.version)} at {lora.weight:g}{apart}")


@click.command(cls=Command)
@pass_session
def capacity(session: Session) -> None:
    """Show what the inference service holds, does and can take."""
    session.show(session.client.images.capacity(), _capacity)


def _capacity(now: Capacity) -> Any:
    # The service tells administrators alone where a base lies.
    bases = [
        "  ".join(part for part in (base.source, base.sha256[:12], "default" if base.default else "") if part)
        for base in now.bases
    ]
    caches = [
        (cache.level, size(cache.used_bytes), size(cache.budget_bytes), cache.hits, cache.misses)
        for cache in now.caches
    ]
    return facts(
        [
            ("engine", "ready" if now.engine_ready else "not ready"),
            ("rows", f"{now.active_rows} of {now.max_rows}"),
            ("queue", f"{now.queued_requests} of {now.max_queued_requests}"),
            ("largest", f"{now.max_width}x{now.max_height} pixels"),
            ("samplers", ", ".join(sampler.lower() for sampler in now.samplers)),
            ("bases", "\n".join(bases)),
            ("caches", table(("cache", "used", "budget", "hits", "misses"), caches) if caches else ""),
        ]
    )
