"""A sweep's contact sheet: every cell, with prompts, seeds and weights written beside them.

The grid has three axes and a sheet two: prompts are bands one below the other, within a band seeds are rows
and weights columns. Where only seeds vary beside the prompts they are the columns; where one axis alone
varies, its cells are wrapped into a square of captioned pictures.
"""

from __future__ import annotations

import io
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from services.inference.domain import Composition
from services.inference.domain_sweep import Place, SweepRequest

MAX_PIXELS: Final = 9_000_000
"""Even as noise its PNG is then smaller than a message may be."""
_LARGEST_CELL: Final = 512
_SMALLEST_CELL: Final = 40
_READABLE_CELL: Final = 112
"""Smaller pictures are enlarged to this, so that captions fit above them."""
_MOST_LINES: Final = 3
_TALLEST: Final = 1.5
"""Height over width beyond which bands are put side by side."""
_PAPER: Final = "#fbfaf7"
_INK: Final = "#22222a"
_SOFT_INK: Final = "#6c6c78"
_BLANK: Final = "#dedbd2"
_WITHHELD: Final = "withheld"


@dataclass(frozen=True, slots=True)
class _Band:
    """Rows of cells under a heading; columns have labels above, rows on their left."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Place, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A band with its place on the sheet."""

    band: _Band
    left: int
    top: int
    heading: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    grid_top: int
    bottom: int


class SweepSheet:
    """Takes cells as they get done, each drawn at once and small: no cell's PNG is kept."""

    def __init__(self, request: SweepRequest, title: str, width: int, height: int) -> None:
        """All cells are `width` x `height` pixels. `title` says what they share."""
        self._bands, most_beside = _bands(request)
        self._title = title
        self._aspect = width / height
        side = min(max(width, height, _READABLE_CELL), _LARGEST_CELL)
        beside = 1
        self._measure(side, beside)
        while self._height > _TALLEST * self._width and beside < most_beside:
            beside += 1
            self._measure(side, beside)
        while self._width * self._height > MAX_PIXELS and side > _SMALLEST_CELL:
            # Labels shrink less than cells do: the exact size is found in a few steps.
            factor = min(0.97, math.sqrt(MAX_PIXELS / (self._width * self._height)))
            side = max(_SMALLEST_CELL, int(side * factor))
            self._measure(side, beside)
        self._sheet = Image.new("RGB", (self._width, self._height), _PAPER)
        self._places = dict(self._draw())

    def add(self, place: Place, png: bytes) -> None:
        """A cell's picture; empty bytes: it was withheld."""
        x, y = self._places[place]
        if not png:
            draw = ImageDraw.Draw(self._sheet)
            draw.text((x + self._gap, y + self._gap), _WITHHELD, _SOFT_INK, _font(self._text))
            return
        with Image.open(io.BytesIO(png)) as picture:
            cell = picture.convert("RGB").resize((self._cell_width, self._cell_height), _FILTER)
        self._sheet.paste(cell, (x, y))

    def png(self) -> bytes:
        """The sheet as it is now."""
        file = io.BytesIO()
        self._sheet.save(file, format="PNG")
        return file.getvalue()

    def _measure(self, side: int, beside: int) -> None:
        """Sizes of everything for cells whose longer side has so many pixels, so many bands side by side."""
        self._cell_width = max(1, round(side * min(1.0, self._aspect)))
        self._cell_height = max(1, round(side * min(1.0, 1 / self._aspect)))
        self._text = max(11, min(22, side // 12))
        self._line = math.ceil(self._text * 1.35)
        self._gap = max(4, side // 40)
        self._margin = 2 * self._text
        labels = [label for band in self._bands for label, _ in band.rows]
        widest = max(math.ceil(_font(self._text).getlength(label)) for label in labels)
        self._row_label = widest + 2 * self._gap if widest else 0
        across = max(len(band.columns) for band in self._bands)
        band_width = self._row_label + across * (self._cell_width + self._gap) - self._gap
        # Headings need some width even above a single small cell.
        band_width = max(band_width, 22 * self._text // beside)
        content = beside * (band_width + self._margin) - self._margin
        self._width = content + 2 * self._margin
        self._heading = _wrapped(self._title, content, self._text)
        top = self._margin + len(self._heading) * self._line + self._gap
        self._drawn: list[_Drawn] = []
        for number, band in enumerate(self._bands):
            if number and number % beside == 0:
                top = max(drawn.bottom for drawn in self._drawn[-beside:]) + self._gap
            left = self._margin + number % beside * (band_width + self._margin)
            self._drawn.append(self._placed(band, left, top, band_width))
        self._height = max(drawn.bottom for drawn in self._drawn) + self._margin

    def _placed(self, band: _Band, left: int, top: int, width: int) -> _Drawn:
        heading = _wrapped(band.heading, width, self._text)
        columns = tuple(_wrapped(label, self._cell_width, self._text) for label in band.columns)
        label_lines = max(len(lines) for lines in columns)
        grid_top = top + (len(heading) + label_lines) * self._line + self._gap
        bottom = grid_top + len(band.rows) * (self._cell_height + self._gap)
        return _Drawn(band, left, top, heading, columns, grid_top, bottom)

    def _draw(self) -> Iterator[tuple[Place, tuple[int, int]]]:
        """Writes all labels; says where each cell goes."""
        draw = ImageDraw.Draw(self._sheet)
        self._write(draw, self._margin, self._margin, self._heading, _SOFT_INK)
        for drawn in self._drawn:
            self._write(draw, drawn.left, drawn.top, drawn.heading, _INK)
            labels_top = drawn.top + len(drawn.heading) * self._line
            grid_left = drawn.left + self._row_label
            for column, lines in enumerate(drawn.columns):
                x = grid_left + column * (self._cell_width + self._gap)
                self._write(draw, x, labels_top, lines, _SOFT_INK)
            for row, (label, places) in enumerate(drawn.band.rows):
                y = drawn.grid_top + row * (self._cell_height + self._gap)
                self._write(draw, drawn.left, y + (self._cell_height - self._line) // 2, (label,), _SOFT_INK)
                for column, place in enumerate(places):
                    x = grid_left + column * (self._cell_width + self._gap)
                    draw.rectangle((x, y, x + self._cell_width - 1, y + self._cell_height - 1), _BLANK)
                    yield place, (x, y)

    def _write(self, draw: ImageDraw.ImageDraw, x: int, y: int, lines: Sequence[str], colour: str) -> None:
        for number, line in enumerate(lines):
            draw.text((x, y + number * self._line), line, colour, _font(self._text))


_FILTER: Final = Image.Resampling.LANCZOS


def title_of(request: SweepRequest) -> str:
    """What all cells share, in words."""
    template = request.template
    stack = " + ".join(f"{entry.reference}:{entry.weight:g}" for entry in template.stack)
    words = [
        stack,
        f"seed {request.seeds[0]}" if len(request.seeds) == 1 else "",
        f"weights x {request.weights[0]:g}"
        if request.weights != (1.0,) and len(request.weights) == 1
        else "",
        f"{template.steps} steps",
        template.sampler.value,
        f"guidance {template.guidance:g}",
        template.composition.value if template.composition is not Composition.ADD else "",
    ]
    return ", ".join(word for word in words if word)


def _bands(request: SweepRequest) -> tuple[tuple[_Band, ...], int]:
    """The bands, and how many of them may stand side by side."""
    prompts = [" ".join(prompt.split()) or "(no prompt)" for prompt in request.prompts]
    seeds = [f"seed {seed}" for seed in request.seeds]
    weights = [f"x {weight:g}" for weight in request.weights]
    axes = [axis for axis in (prompts, seeds, weights) if len(axis) > 1]
    if len(axes) <= 1:
        headings = prompts if axes != [prompts] else []
        return _wrapped_axis(request, axes[0] if axes else seeds, headings), 1
    bands = []
    for number, prompt in enumerate(prompts):
        if len(weights) == 1:
            places = tuple(Place(prompt=number, seed=seed, weight=0) for seed in range(len(seeds)))
            bands.append(_Band(prompt, tuple(seeds), (("", places),)))
            continue
        rows = tuple(
            (
                label if len(seeds) > 1 else "",
                tuple(Place(prompt=number, seed=seed, weight=weight) for weight in range(len(weights))),
            )
            for seed, label in enumerate(seeds)
        )
        bands.append(_Band(prompt, tuple(weights), rows))
    return tuple(bands), len(bands)


def _wrapped_axis(request: SweepRequest, labels: Sequence[str], headings: Sequence[str]) -> tuple[_Band, ...]:
    """The cells of a grid of which one axis alone varies, in lines of about as many as there are lines."""
    places = list(request.places())
    across = math.ceil(math.sqrt(len(places)))
    starts = range(0, len(places), across)
    return tuple(
        _Band(
            headings[0] if headings and start == 0 else "",
            tuple(labels[start : start + across]),
            (("", tuple(places[start : start + across])),),
        )
        for start in starts
    )


@lru_cache(maxsize=4096)
def _wrapped(text: str, width: int, size: int) -> tuple[str, ...]:
    """The text in lines of that width in pixels, at most _MOST_LINES, the last one cut off with dots."""
    if not text:
        return ()
    font = _font(size)
    # Nothing beyond this could fit: long prompts are not measured to their end.
    words = text[: 8 * _LARGEST_CELL].split()
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) == _MOST_LINES:
            lines[-1] += " ..."
            break
        else:
            lines.append(word)
    return tuple(_cut(line, width, font) for line in lines)


def _cut(line: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(line) <= width:
        return line
    text = line.removesuffix(" ...")
    # Halved, not shortened letter by letter: a word may be as long as a prompt.
    kept = bisect_right(range(1, len(text) + 1), width, key=lambda end: font.getlength(text[:end] + "..."))
    return text[:kept].rstrip() + "..."


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
