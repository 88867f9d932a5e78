"""The contact sheet: what the brands brought, and what every stack makes of the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_PAPER: Final = "#fbfaf7"
_INK: Final = "#22222a"
_SOFT_INK: Final = "#6c6c78"
_RULE: Final = "#dedbd2"
_CELL: Final = 216
_GAP: Final = 12
_MARGIN: Final = 40
_HEADER: Final = 106
_TITLE: Final = 112
_PROMPT_WIDTH: Final = 210
_EXAMPLE: Final = 108
_EXAMPLES_ACROSS: Final = 3
_PANEL_GAP: Final = 44


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """Pictures that a brand brought, and the colour that stands for its LoRA."""

    title: str
    subtitle: str
    colour: str
    pictures: Sequence[Image.Image]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """What one stack made of each prompt, top to bottom."""

    title: str
    subtitle: str
    colours: Sequence[str]
    pictures: Sequence[Image.Image]


def draw_sheet(
    title: str,
    subtitle: str,
    examples: Sequence[Examples],
    prompts: Sequence[str],
    columns: Sequence[Column],
) -> Image.Image:
    """The sheet as an RGB picture; every column has one picture for each prompt."""
    panel_width = _EXAMPLES_ACROSS * (_EXAMPLE + 6) - 6
    left = _MARGIN + panel_width + _PANEL_GAP
    width = left + _PROMPT_WIDTH + len(columns) * (_CELL + _GAP) - _GAP + _MARGIN
    grid_height = len(prompts) * (_CELL + _GAP) - _GAP
    sheet = Image.new("RGB", (width, _TITLE + _HEADER + grid_height + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 34), title, _INK, _font(36))
    draw.text((_MARGIN, 80), subtitle, _SOFT_INK, _font(19))
    _draw_examples(sheet, draw, examples, grid_height)
    rule_x = left - _PANEL_GAP // 2
    draw.line((rule_x, _TITLE + 10, rule_x, _TITLE + _HEADER + grid_height), _RULE, 2)
    for row, prompt in enumerate(prompts):
        top = _TITLE + _HEADER + row * (_CELL + _GAP)
        _draw_wrapped(draw, (left, top + _CELL // 2 - 26), prompt, _PROMPT_WIDTH - 20)
    for number, column in enumerate(columns):
        x = left + _PROMPT_WIDTH + number * (_CELL + _GAP)
        _draw_column(sheet, draw, x, column)
    return sheet


def _draw_examples(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, examples: Sequence[Examples], height: int
) -> None:
    top = float(_TITLE + 10)
    band = (height + _HEADER - 10) / max(1, len(examples))
    for example in examples:
        _draw_chip(sheet, _MARGIN, int(top) + 5, example.colour)
        draw.text((_MARGIN + 22, top), example.title, _INK, _font(21))
        draw.text((_MARGIN, top + 29), example.subtitle, _SOFT_INK, _font(15))
        rows = max(1, int((band - 54) // (_EXAMPLE + 6)))
        for index, picture in enumerate(example.pictures[: rows * _EXAMPLES_ACROSS]):
            row, across = divmod(index, _EXAMPLES_ACROSS)
            x, y = _MARGIN + across * (_EXAMPLE + 6), int(top) + 54 + row * (_EXAMPLE + 6)
            sheet.paste(_fitted(picture, _EXAMPLE), (x, y))
        top += band


def _draw_column(sheet: Image.Image, draw: ImageDraw.ImageDraw, x: int, column: Column) -> None:
    chip_x = x
    for colour in column.colours:
        _draw_chip(sheet, chip_x, _TITLE + 15, colour)
        chip_x += 20
    indent = chip_x - x + (4 if column.colours else 0)
    draw.text((x + indent, _TITLE + 10), column.title, _INK, _font(20))
    _draw_wrapped(draw, (x, _TITLE + 40), column.subtitle, _CELL, size=15, colour=_SOFT_INK)
    for row, picture in enumerate(column.pictures):
        sheet.paste(_fitted(picture, _CELL), (x, _TITLE + _HEADER + row * (_CELL + _GAP)))


def _draw_chip(sheet: Image.Image, x: int, y: int, colour: str) -> None:
    # Pillow's circles have jagged edges: a large one made small has not.
    disc = Image.new("L", (64, 64))
    ImageDraw.Draw(disc).ellipse((0, 0, 63, 63), fill=255)
    sheet.paste(colour, (x, y), disc.resize((16, 16), Image.Resampling.LANCZOS))


def _draw_wrapped(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    width: int,
    *,
    size: int = 18,
    colour: str = _INK,
) -> None:
    font = _font(size)
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    x, y = place
    for number, line in enumerate(lines):
        draw.text((x, y + number * size * 1.35), line, colour, font)


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
