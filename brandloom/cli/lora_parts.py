"""Where and when a LoRA works, as one writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from brandloom import Box, StackEntry


def parts_of_entry(entry: StackEntry) -> str:
    """`steps=0%-60% box=0%,0%,50%,100%`; empty: all steps, and the whole picture."""
    region: dict[str, Any] = {}
    if isinstance(entry.region, Box):
        box = entry.region
        region = {"box": [box.left, box.top, box.right, box.bottom]}
    elif entry.region is not None:
        region = {"mask_sha256": ""}
    window = {"window": [entry.window.start, entry.window.end]} if entry.window is not None else {}
    return parts_of_record({**window, **region})


def parts_of_record(entry: Mapping[str, Any]) -> str:
    """The same of a LoRA in a picture's record; a mask by the beginning of its digest."""
    told = []
    if "window" in entry:
        told.append(f"steps={_percents(entry['window'], '-')}")
    if "box" in entry:
        told.append(f"box={_percents(entry['box'], ',')}")
    if "mask_sha256" in entry:
        told.append(f"mask {str(entry['mask_sha256'])[:12]}".rstrip())
    return " ".join(told)


def _percents(fractions: Any, between: str) -> str:
    # A record may be anybody's: what is no list of numbers is shown as it is.
    if not isinstance(fractions, Iterable) or not all(isinstance(part, int | float) for part in fractions):
        return str(fractions)
    return between.join(f"{part * 100:g}%" for part in fractions)
