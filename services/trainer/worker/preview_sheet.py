"""One picture of all sample pictures of a job: a row for each step at which they were made, a column for each
prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

MOST_ROWS: Final = 12
MOST_COLUMNS: Final = 8
CELL: Final = 224
"""Pixels on a side that a picture has on the sheet at most: with the numbers above it has 2 by 3 thousand."""
_GAP: Final = 8
_STEP_WIDTH: Final = 96
_TITLE_HEIGHT: Final = 32
_LINE_HEIGHT: Final = 16
_PROMPT_LINES: Final = 4
_PAPER: Final = "#ffffff"
_INK: Final = "#1b2a3d"
_FAINT: Final = "#6b7a8d"
# matplotlib brings a font that knows most alphabets.
_FONT: Final = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """A sample picture, uint8 [H, W, 3], and its prompt."""

    prompt: str
    picture_HWC: np.ndarray


class PreviewSheet:
    """Gathers samples, as small as they will be shown, of at most `MOST_ROWS` steps spread over the job."""

    def __init__(self) -> None:
        self._rows: dict[int, list[tuple[str, Image.Image]]] = {}

    @property
    def steps(self) -> list[int]:
        """Those of which there are samples on the sheet."""
        return sorted(self._rows)

    def add(self, step: int, pictures: Sequence[SheetPicture]) -> None:
        """The samples of a step; where there are too many steps, one goes whose neighbours are nearest."""
        if not pictures:
            return
        self._rows[step] = [(one.prompt, _small(one.picture_HWC)) for one in pictures[:MOST_COLUMNS]]
        if len(self._rows) > MOST_ROWS:
            steps = self.steps
            inner = range(1, len(steps) - 1)
            del self._rows[steps[min(inner, key=lambda at: steps[at + 1] - steps[at - 1])]]

    def draw(self, path: Path, title: str) -> None:
        """Writes a PNG: the steps from top to bottom, the prompts under the last.

        Raises OSError, and ValueError when there is nothing to show.
        """
        if not self._rows:
            raise ValueError("a preview sheet needs samples")
        columns = max(len(row) for row in self._rows.values())
        width = _STEP_WIDTH + columns * (CELL + _GAP) + _GAP
        below = _TITLE_HEIGHT + len(self._rows) * (CELL + _GAP)
        sheet = Image.new("RGB", (width, below + _PROMPT_LINES * _LINE_HEIGHT + _GAP), _PAPER)
        draw = ImageDraw.Draw(sheet)
        draw.text((_GAP, 6), _cut(title, width - 2 * _GAP, _font(16)), fill=_INK, font=_font(16))
        for index, step in enumerate(self.steps):
            top = _TITLE_HEIGHT + index * (CELL + _GAP)
            draw.text((_GAP, top + CELL // 2 - 8), f"step {step}", fill=_FAINT, font=_font(13))
            for column, (_, picture) in enumerate(self._rows[step]):
                left = _STEP_WIDTH + column * (CELL + _GAP)
                sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
        for column, (prompt, _) in enumerate(self._rows[self.steps[-1]]):
            left = _STEP_WIDTH + column * (CELL + _GAP)
            for number, line in enumerate(_lines(prompt, _font(12))):
                draw.text((left, below + number * _LINE_HEIGHT), line, fill=_INK, font=_font(12))
        sheet.save(path, format="PNG", optimize=True)


def _small(picture_HWC: np.ndarray) -> Image.Image:
    picture = Image.fromarray(picture_HWC)
    grows = max(picture.size) < CELL
    method = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    return ImageOps.contain(picture, (CELL, CELL), method)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONT), size)


def _lines(prompt: str, font: ImageFont.FreeTypeFont) -> list[str]:
    """The prompt in lines of a cell's width; what does not fit is cut off with dots."""
    lines = [""]
    for word in prompt.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= CELL:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > _PROMPT_LINES:
        lines[_PROMPT_LINES - 1 :] = [" ".join(lines[_PROMPT_LINES - 1 :])]
    return [_cut(line, CELL, font) for line in lines]


def _cut(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """As much of the text as fits `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    # Hardly a letter is narrower than two pixels: long prompts are not measured letter by letter.
    kept = text[: width // 2]
    while kept and font.getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept}…"
