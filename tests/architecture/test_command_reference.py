"""docs/reference/cli.md says what the command's help says."""

from __future__ import annotations

from pathlib import Path

from brandloom.cli.reference import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"


def test_the_page_is_what_the_help_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_page_names_commands_of_each_resource() -> None:
    text = page()
    for command in (
        "label-jobs watch JOB",
        "images update IMAGE",
        "versions url VERSION",
        "loras watch [BRAND]",
    ):
        assert f"#### `brandloom {command}`" in text
