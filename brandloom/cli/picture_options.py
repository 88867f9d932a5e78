"""Options of the commands that make pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from brandloom import Composition, InitialImage, PictureSettings, Sampler, SigmaSchedule, StackEntry
from brandloom._arguments import check_seeds, check_side
from brandloom._stack_text import is_png
from brandloom.cli.stack import StackParameter

F = TypeVar("F", bound=Callable[..., Any])

_SAMPLERS = [member.lower() for member in Sampler if member is not Sampler.UNSPECIFIED]
_COMPOSITIONS = [member.lower() for member in Composition if member is not Composition.UNSPECIFIED]
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class SideParameter(click.ParamType[int]):
    """Pixels of a picture's width or height."""

    name = "PIXELS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The pixels; a usage error for what is no side of a picture."""
        try:
            pixels = int(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is no whole number", ctx, param) from None
        try:
            check_side(pixels)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None
        return pixels


_OPTIONS = (
    click.option(
        "--lora",
        "stack",
        multiple=True,
        type=StackParameter(),
        help="Repeatable: hero@prod:0.6, hero:0.6:steps=20%-80%, hero:box=0,0,50%,100%, hero:mask=left.png.",
    ),
    click.option("--negative-prompt", default="", help="What shall not be in the picture."),
    click.option("--steps", type=click.IntRange(1, 150), help="Denoising steps (default: 25)."),
    click.option("--guidance", type=float, help="How much the prompt counts (default: 5)."),
    click.option("--sampler", type=click.Choice(_SAMPLERS), help="Default: dpmpp_2m."),
    click.option("--karras", is_flag=True, help="Karras' spacing of the noise levels."),
    click.option("--width", type=SideParameter(), help="A multiple of 8 (default: the base's own)."),
    click.option("--height", type=SideParameter(), help="A multiple of 8 (default: the base's own)."),
    click.option("--clip-skip", default=0, help="Layers of the text encoder to skip from its end."),
    click.option("--base-model", default="", help="Name of a base model (default: the service's own)."),
    click.option(
        "--composition",
        type=click.Choice(_COMPOSITIONS),
        help="How the LoRAs work together: their sum, one after another, or the mean of each (default: add).",
    ),
    click.option(
        "--switch-every", type=click.IntRange(1, 150), help="Steps of each, with switch (default: 1)."
    ),
    click.option("--init-image", type=_FILE, help="PNG, JPEG or WebP to begin from."),
    click.option(
        "--strength",
        type=click.FloatRange(0, 1, min_open=True),
        help="How much of it is made anew (default: 0.75).",
    ),
    click.option(
        "--mask", type=_FILE, help="PNG: where it is bright, the picture is made anew; else it stays."
    ),
    click.option(
        "--priority",
        type=click.IntRange(-100, 100),
        default=0,
        help="Larger goes first among the brand's own.",
    ),
)


def picture_options(function: F) -> F:
    """All options of `PictureSettings`; `picture_settings` reads them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def picture_settings(
    *,
    stack: tuple[StackEntry, ...],
    guidance: float | None,
    sampler: str | None,
    karras: bool,
    composition: str | None,
    switch_every: int | None,
    init_image: Path | None,
    strength: float | None,
    mask: Path | None,
    **others: Any,
) -> PictureSettings:
    """What the options say. Raises a usage error for options that mean nothing without another, OSError."""
    for name, value in (("--strength", strength), ("--mask", mask)):
        if value is not None and init_image is None:
            raise click.UsageError(f"{name} is of use with --init-image alone")
    if switch_every is not None and composition != "switch":
        raise click.UsageError("--switch-every is of use with --composition switch alone")
    beginning = InitialImage.read(init_image, strength=strength, mask=mask) if init_image else None
    if beginning is not None and mask is not None and not is_png(beginning.mask_png):
        raise click.UsageError(f"--mask: {mask} is no PNG picture; a mask must be one")
    settings: dict[str, Any] = {
        **others,
        "stack": stack,
        "guidance_scale": guidance,
        "sampler": Sampler(sampler.upper()) if sampler else None,
        "sigma_schedule": SigmaSchedule.KARRAS if karras else None,
        "composition": Composition(composition.upper()) if composition else None,
        "switch_every": switch_every,
        "initial_image": beginning,
    }
    return cast(PictureSettings, {name: value for name, value in settings.items() if _is_said(value)})


def checked_seeds(seed: int | None, count: int | None) -> None:
    """Raises a usage error where the last picture's seed would be too large."""
    try:
        check_seeds(seed, count)
    except ValueError as error:
        raise click.UsageError(f"--seed with --count: {error}") from None


def _is_said(value: object) -> bool:
    return value not in (None, "", ()) and not (isinstance(value, int) and value == 0)
