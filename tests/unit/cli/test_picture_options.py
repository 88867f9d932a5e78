"""Options of the commands that make pictures that make no sense: refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from brandloom import GenerationProgress
from tests.unit.cli.test_picture_commands import PNG, QUEUED, Recorder, an_image, run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("sketch.png", "mask.png"):
        (tmp_path / name).write_bytes(PNG + name.encode())
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        ("--strength", "0.5"),
        ("--mask", "mask.png"),
        ("--switch-every", "2"),
        ("--switch-every", "2", "--composition", "add"),
        ("--composition", "blend"),
        ("--preview-every", "2"),
        ("--init-image", "nowhere.png"),
        ("--init-image", "sketch.png", "--strength", "0"),
        ("--lora", "hero:steps=80%-20%"),
        ("--priority", "101"),
        ("--steps", "0"),
        ("--width", "33"),
        ("--height", "4"),
        ("--seed", "4294967295", "--count", "2"),
        ("--output", "cat.jpg"),
        ("--output", "sketch.png"),
        ("--lora", "neon:99"),
        ("--lora", "neon:nan"),
    ],
)
def test_options_that_make_no_sense(
    options: tuple[str, ...], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    call = Recorder([QUEUED, an_image()])
    done = run("images", "stream", call, "generate", "acme", "a cat", *options)
    assert done.exit_code == 2
    assert call.arguments == ()
    assert sorted(path.name for path in files.iterdir()) == ["mask.png", "sketch.png"]


def test_a_mask_must_be_a_png_and_the_option_and_file_are_named(files: Path) -> None:
    (files / "left.jpg").write_bytes(b"\xff\xd8\xff a JPEG")
    arguments = ("generate", "acme", "a", "--output", str(files))
    for options in (
        ("--lora", f"neon:mask={files}/left.jpg"),
        ("--init-image", f"{files}/sketch.png", "--mask", f"{files}/left.jpg"),
    ):
        done = run("images", "stream", Recorder([]), *arguments, *options)
        said = " ".join(done.stderr.split())
        assert done.exit_code == 2
        assert options[-2] in said
        assert "left.jpg is no PNG picture" in said


def test_a_picture_is_replaced_only_when_told(tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(b"before")
    arguments = ("generate", "acme", "a cat", "--output", str(file))
    refused = run("images", "stream", Recorder([QUEUED, an_image()]), *arguments)
    assert (refused.exit_code, file.read_bytes()) == (2, b"before")
    assert "--overwrite" in refused.stderr
    done = run("images", "stream", Recorder([QUEUED, an_image()]), *arguments, "--overwrite")
    assert (done.exit_code, file.read_bytes()) == (0, b"picture")


def test_a_side_that_is_too_large_is_told_where_the_limit_stands() -> None:
    done = run("images", "stream", Recorder([]), "generate", "acme", "a", "--width", "4096")
    assert done.exit_code == 2
    assert "capacity" in done.stderr
    assert "2048" not in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--seeds", "a"),
        ("--seeds", "1-"),
        ("--seeds", "0-999999999"),
        ("--seeds", "5-1"),
        ("--seeds", "5-1,3"),
        ("--seeds", "4294967296"),
        ("--weights", "1,x"),
        ("--weights", "0,1"),
    ],
)
def test_seeds_and_weights_that_are_none(options: tuple[str, ...]) -> None:
    call = Recorder([])
    assert run("images", "sweep", call, "sweep", "acme", "a", *options).exit_code == 2
    assert call.arguments == ()


def test_weights_go_with_a_tag_of_the_prompt_too(tmp_path: Path) -> None:
    arguments = ("sweep", "acme", "a <lora:hero:1>", "--weights", "0,1", "--output", str(tmp_path))
    progress = GenerationProgress(step=4, total_steps=4, time_left=None)
    done = run("images", "sweep", Recorder([QUEUED, progress]), *arguments)
    assert done.exit_code == 0, done.output
    assert "sweeping: 4 of 4 steps" in done.stderr
