"""The sheet of all samples of a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.trainer.worker.preview_sheet import CELL, MOST_COLUMNS, MOST_ROWS, PreviewSheet, SheetPicture

RED, BLUE = (200, 0, 0), (0, 0, 200)


def picture(colour: tuple[int, int, int], height: int = 16, width: int = 16) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def drawn(sheet: PreviewSheet, path: Path) -> np.ndarray:
    sheet.draw(path, "hero")
    with Image.open(path) as found:
        assert found.format == "PNG"
        return np.asarray(found.convert("RGB"))


def rows_of(picture_HWC: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((picture_HWC == colour).all(axis=2).any(axis=1))


def test_each_step_has_a_row_and_the_prompts_are_under_the_last(tmp_path: Path) -> None:
    sheet = PreviewSheet()
    sheet.add(10, [SheetPicture("a cat", picture(BLUE)), SheetPicture("a dog", picture(BLUE))])
    sheet.add(5, [SheetPicture("a cat", picture(RED)), SheetPicture("a dog", picture(RED))])
    found = drawn(sheet, tmp_path / "sheet.png")
    red, blue = rows_of(found, RED), rows_of(found, BLUE)
    assert len(red) == len(blue) == CELL
    assert red[-1] < blue[0]
    below = found[blue[-1] + 1 :]
    assert (below < 128).all(axis=2).any(), "no prompt is written"
    other = PreviewSheet()
    other.add(10, [SheetPicture("a cat", picture(BLUE)), SheetPicture("a bird", picture(BLUE))])
    other.add(5, [SheetPicture("a cat", picture(RED)), SheetPicture("a bird", picture(RED))])
    assert (drawn(other, tmp_path / "other.png")[: blue[-1]] == found[: blue[-1]]).all()
    assert (drawn(other, tmp_path / "other.png") != found).any()


def test_however_long_a_job_runs_the_sheet_stays_small(tmp_path: Path) -> None:
    sheet = PreviewSheet()
    shown = [SheetPicture("日本語 " + "word " * 300, picture(RED, 900, 1200))] * 10
    for step in range(10, 2010, 10):
        sheet.add(step, shown if step in {10, 2000} else shown[:1])
    assert len(sheet.steps) == MOST_ROWS
    assert (sheet.steps[0], sheet.steps[-1]) == (10, 2000)
    assert max(np.diff(sheet.steps)) <= 3 * 2000 / MOST_ROWS
    height, width, _ = drawn(sheet, tmp_path / "sheet.png").shape
    assert width <= 128 + MOST_COLUMNS * (CELL + 16)
    assert height <= 128 + MOST_ROWS * (CELL + 16)
    assert (tmp_path / "sheet.png").stat().st_size < 4 << 20


def test_a_sheet_of_nothing_is_no_sheet(tmp_path: Path) -> None:
    sheet = PreviewSheet()
    sheet.add(5, [])
    assert sheet.steps == []
    with pytest.raises(ValueError, match="samples"):
        sheet.draw(tmp_path / "sheet.png", "hero")


def test_one_long_word_is_cut_off(tmp_path: Path) -> None:
    sheet = PreviewSheet()
    sheet.add(5, [SheetPicture("x" * 1000, picture(RED))])
    found = drawn(sheet, tmp_path / "sheet.png")
    assert (found[:, -8:] == 255).all()
