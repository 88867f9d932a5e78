"""Entries of a stack as one writes them: `hero@prod:0.8`, `hero:0.8:steps=20%-80%`, `hero:box=0,0,0.5,1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from brandloom.errors import ConfigurationError
from brandloom.types.inference import Box, Mask, StackEntry, StepWindow

FORM: Final = "LORA[:WEIGHT][:te=WEIGHT][:steps=FROM-TO][:box=LEFT,TOP,RIGHT,BOTTOM | :mask=FILE]"
_MAX_MASK_BYTES: Final = 4 << 20
_MAX_WEIGHT: Final = 10.0
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def parse_stack_entry(text: str, *, folder: Path | None = None) -> StackEntry:
    """The entry that a text names: a reference, and behind colons what it is used with.

    `hero:0.8` has weight 0.8 everywhere, `hero:0.3:0.8` 0.3 in the text encoder and 0.8 in the UNet, as have
    `hero:0.8:te=0.3` and `hero:te=0.3:unet=0.8`. `steps=20%-80%` (or `0.2-0.8`) is the part of the steps in
    which it works, `box=0,0,50%,100%` (left, top, right, bottom) or `mask=left.png` the part of the picture.
    Files are looked for in `folder`. Raises ConfigurationError saying what cannot be read.
    """
    _refuse_tag(text)
    reference, *parts = (part.strip() for part in text.split(":"))
    said: dict[str, str] = {}
    weights: list[float] = []
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            weights.append(_weight(part, text))
        elif name not in _READERS:
            raise _fault(text, f"knows {', '.join(_READERS)}, not {name!r}")
        elif name in said:
            raise _fault(text, f"says {name}= twice")
        else:
            said[name] = value
    if not reference or len(weights) > 2:
        raise _fault(text, f"is not {FORM}")
    # As in a prompt's tag: of two weights the text encoder's is the first.
    named: dict[str, Any] = dict(
        zip(("te", "unet") if len(weights) == 2 else ("unet",), weights, strict=False)
    )
    if named.keys() & said.keys():
        raise _fault(text, "says a weight twice")
    if "box" in said and "mask" in said:
        raise _fault(text, "has a box and a mask: one region is all there can be")
    named |= {name: _READERS[name](value, text, folder or Path()) for name, value in said.items()}
    return StackEntry(
        reference,
        named.get("unet"),
        named.get("te"),
        named.get("steps"),
        named.get("box") or named.get("mask"),
    )


def _refuse_tag(text: str) -> None:
    if text.lstrip().startswith("<"):
        bare = text.strip().removeprefix("<").removesuffix(">").removeprefix("lora:")
        raise _fault(text, f"is a tag as prompts have them: write {bare} without the brackets here")


def is_png(content: bytes) -> bool:
    """Whether the bytes begin as a PNG file does."""
    return content.startswith(_PNG)


def _weight(value: str, text: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        raise _fault(text, f"{value!r} is no weight: it must be a number") from None
    # Written so that nan is outside too.
    if not -_MAX_WEIGHT <= weight <= _MAX_WEIGHT:
        raise _fault(text, f"the weight {value} is outside -{_MAX_WEIGHT:g} to {_MAX_WEIGHT:g}")
    return weight


def _fraction(value: str, text: str) -> float:
    number, percent, rest = value.strip().partition("%")
    try:
        found = float(number) / (100 if percent else 1)
    except ValueError:
        found = -1.0
    if rest or not 0 <= found <= 1:
        raise _fault(text, f"{value!r} is no part of a whole: write 20% or 0.2")
    return found


def _window(value: str, text: str, folder: Path) -> StepWindow:
    start, dash, end = value.partition("-")
    if not dash:
        raise _fault(text, f"steps={value} is no part of the steps: write steps=20%-80%")
    window = StepWindow(_fraction(start, text), _fraction(end, text))
    if window.start >= window.end:
        raise _fault(text, f"steps={value} ends before it begins")
    return window


def _box(value: str, text: str, folder: Path) -> Box:
    sides = value.split(",")
    if len(sides) != 4:
        raise _fault(text, f"box={value} is no box: write box=LEFT,TOP,RIGHT,BOTTOM")
    box = Box(*(_fraction(side, text) for side in sides))
    if box.left >= box.right or box.top >= box.bottom:
        raise _fault(text, f"box={value} is empty: left must be below right, and top below bottom")
    return box


def _mask(value: str, text: str, folder: Path) -> Mask:
    path = folder / value
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_MASK_BYTES + 1)
    except OSError as error:
        raise _fault(text, f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_MASK_BYTES:
        raise _fault(text, f"{path} has more than {_MAX_MASK_BYTES >> 20} MiB")
    if not is_png(content):
        raise _fault(text, f"{path} is no PNG picture; a mask must be one")
    return Mask(content)


def _fault(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{text!r}: {why}")


_READERS: Final[Mapping[str, Callable[[str, str, Path], Any]]] = {
    "te": lambda value, text, folder: _weight(value, text),
    "unet": lambda value, text, folder: _weight(value, text),
    "steps": _window,
    "box": _box,
    "mask": _mask,
}
