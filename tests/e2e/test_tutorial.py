"""The tutorial's commands do what it says, in its order, with small models in place of the demo's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import Done, World
from tests.e2e.test_readme import prepare
from tests.fixtures.pictures import png

pytestmark = pytest.mark.timeout(600)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "first-lora.md"
# What the demo's base needs to learn something is too much for a test.
SHORTER = {"300": "2", "8": "2", "16": "2"}


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines]


def test_the_way_from_pictures_to_a_picture(
    brandloom_command: Callable[..., Done], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(world)
    pictures = tmp_path / ".brandloom/demo/pictures/lumen-signs/train"
    pictures.mkdir(parents=True)
    for seed in range(4):
        (pictures / f"{seed}.png").write_bytes(png(seed))
    monkeypatch.chdir(tmp_path)
    told = {}
    for program, *arguments in commands():
        assert program == "brandloom"
        words = [SHORTER.get(word, word) for word in arguments]
        steps = ["--steps", "2"] if words[0] == "generate" else []
        done = brandloom_command(*words, *steps)
        assert done.status == 0, f"{arguments}: {done.stderr}"
        told[" ".join(words[:2])] = done
    assert "lumen/neon: succeeded" in told["jobs watch"].stdout
    assert "lumen/neon@1" in told["versions list"].stdout
    assert "trained on brands/lumen/datasets/neon/revisions/1" in told["versions lineage"].stdout
    for name in ("with.png", "without.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"
