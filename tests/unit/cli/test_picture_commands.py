"""What the commands that make pictures send, write and say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from brandloom import (
    BatchImage,
    BatchResult,
    Box,
    Capacity,
    Composition,
    ExportPrecision,
    Failure,
    GeneratedImage,
    GenerationProgress,
    InitialImage,
    Mask,
    Pin,
    PinnedStack,
    Preview,
    Queued,
    Sampler,
    SigmaSchedule,
    StackEntry,
    StepWindow,
    SweepCell,
    SweepSheet,
    UsedLora,
)
from brandloom.cli.main import cli
from brandloom.cli.session import Session

USED = UsedLora(
    reference="hero",
    version="brands/acme/loras/hero/versions/3",
    sha256="ab",
    text_encoder_weight=0.8,
    weight=0.8,
)
PNG = b"\x89PNG\r\n\x1a\n"
QUEUED = Queued(position=0, stack=(USED,), seed=7, base_model_sha256="cd")


class Recorder:
    """A group of calls that notes what it is asked and answers with what it was given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.arguments: tuple[Any, ...] = ()
        self.settings: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        self.arguments, self.settings = arguments, settings
        return iter(self.answer) if isinstance(self.answer, list) else self.answer


def run(group: str, name: str, call: Any, *arguments: str) -> Result:
    session: Any = Session()
    session.client = SimpleNamespace(**{group: SimpleNamespace(**{name: call})})
    return CliRunner().invoke(cli, arguments, obj=session)


def an_image(index: int = 0, seed: int = 7, *, withheld: bool = False) -> GeneratedImage:
    png = b"" if withheld else b"picture"
    return GeneratedImage(index=index, png=png, width=8, height=8, seed=seed, sha256="ef", withheld=withheld)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("sketch.png", "mask.png"):
        (tmp_path / name).write_bytes(PNG + name.encode())
    return tmp_path


def test_all_options_of_a_picture_are_sent(files: Path) -> None:
    call = Recorder([QUEUED, an_image()])
    done = run(
        "images", "stream", call, "generate", "acme", "a cat",
        "--lora", "hero@prod:0.8:steps=20%-80%", "--lora", f"neon:mask={files}/mask.png",
        "--lora", "dusk:0.5:box=0,0,50%,1", "--negative-prompt", "grey", "--steps", "9", "--guidance", "0",
        "--sampler", "euler", "--karras", "--width", "64", "--height", "32", "--clip-skip", "1",
        "--base-model", "sd", "--composition", "switch", "--switch-every", "2",
        "--init-image", f"{files}/sketch.png", "--strength", "0.4", "--mask", f"{files}/mask.png",
        "--priority", "-3", "--count", "2", "--seed", "0", "--preview-every", "3",
        "--previews-dir", f"{files}/previews", "--output", str(files),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert call.arguments == ("acme", "a cat")
    assert call.settings == {
        "stack": (
            StackEntry("hero@prod", 0.8, window=StepWindow(0.2, 0.8)),
            StackEntry("neon", region=Mask(PNG + b"mask.png")),
            StackEntry("dusk", 0.5, region=Box(0, 0, 0.5, 1)),
        ),
        "negative_prompt": "grey",
        "steps": 9,
        "guidance_scale": 0.0,
        "sampler": Sampler.EULER,
        "sigma_schedule": SigmaSchedule.KARRAS,
        "width": 64,
        "height": 32,
        "clip_skip": 1,
        "base_model": "sd",
        "composition": Composition.SWITCH,
        "switch_every": 2,
        "initial_image": InitialImage(PNG + b"sketch.png", 0.4, PNG + b"mask.png"),
        "priority": -3,
        "count": 2,
        "seed": 0,
        "preview_every": 3,
    }


def test_what_is_not_said_is_not_sent(tmp_path: Path) -> None:
    call = Recorder([QUEUED, an_image()])
    assert run("images", "stream", call, "generate", "acme", "a", "--output", str(tmp_path)).exit_code == 0
    assert call.settings == {"count": 1, "seed": None, "preview_every": 0}


def test_previews_are_written(tmp_path: Path) -> None:
    preview = Preview(index=0, step=5, png=b"rough", width=4, height=4)
    call = Recorder([QUEUED, preview, an_image()])
    folder = tmp_path / "previews"
    done = run(
        "images", "stream", call, "generate", "acme", "a", "--previews-dir", str(folder), "--output",
        str(tmp_path), "--json",
    )  # fmt: skip
    assert (folder / "00-step-005.png").read_bytes() == b"rough"
    assert call.settings["preview_every"] == 5
    assert json.loads(done.stdout)["previews"] == [str(folder / "00-step-005.png")]


def test_a_withheld_picture_is_told_and_not_written(tmp_path: Path) -> None:
    call = Recorder([QUEUED, an_image(withheld=True)])
    done = run("images", "stream", call, "generate", "acme", "a", "--output", str(tmp_path))
    assert done.exit_code == 0
    assert "the picture of seed 7 was withheld" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_writes_its_sheet_and_its_cells(tmp_path: Path) -> None:
    events = [
        QUEUED,
        GenerationProgress(step=2, total_steps=2, time_left=None),
        SweepCell(prompt_index=0, seed_index=1, weight_index=2, image=an_image(seed=9)),
        SweepCell(prompt_index=1, seed_index=0, weight_index=0, image=an_image(withheld=True)),
        SweepSheet(png=b"sheet"),
    ]
    call = Recorder(events)
    arguments = ("sweep", "acme", "a cat", "a boat", "--lora", "hero", "--seeds", "7-8,11", "--weights",
                 "0,0.5,1", "--output", str(tmp_path))  # fmt: skip
    done = run("images", "sweep", call, *arguments)
    assert done.exit_code == 0, done.output
    assert call.arguments == ("acme", ("a cat", "a boat"))
    assert call.settings == {
        "seeds": (7, 8, 11),
        "weights": (0.0, 0.5, 1.0),
        "stack": (StackEntry("hero"),),
    }
    assert (tmp_path / "sheet.png").read_bytes() == b"sheet"
    assert (tmp_path / "prompt-00-seed-9-weight-1.png").read_bytes() == b"picture"
    assert len(list(tmp_path.iterdir())) == 2
    assert "1 pictures were withheld" in done.stderr
    only = tmp_path / "only"
    run("images", "sweep", Recorder(events), "sweep", "acme", "a", "--output", str(only), "--sheet-only")
    assert [path.name for path in only.iterdir()] == ["sheet.png"]


def test_a_batch_says_what_failed(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a\nb\nc\n")
    image = BatchImage(file="a.png", seed=7, sha256="ab", size_bytes=3, width=8, height=8)
    results = [
        BatchResult(line=1, prompt="a", key="k1", images=(image,)),
        BatchResult(line=2, prompt="b", key="k2", images=(image,), made_before=True),
        BatchResult(line=3, prompt="c", key="k3", error=Failure(reason="NO", message="not this")),
    ]
    call = Recorder(results)
    arguments = ("generate-batch", "acme", str(file), "--out", str(tmp_path / "out"), "--steps", "9")
    done = run("images", "batch", call, *arguments)
    assert done.exit_code == 1
    assert "line 3: not this (NO)" in done.stderr
    assert "1 made, 1 made before, 1 failed" in done.stderr
    brand, lines, folder = call.arguments
    assert (brand, [line.prompt for line in lines], folder) == ("acme", ["a", "b", "c"], tmp_path / "out")
    assert call.settings["steps"] == 9
    told = run("images", "batch", Recorder(results[:2]), *arguments, "--json")
    assert told.exit_code == 0
    assert [json.loads(line)["line"] for line in told.stdout.splitlines()] == [1, 2]


def test_a_bad_file_of_prompts_is_told_before_anything(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": 3}\n')

    def nothing(*arguments: Any, **settings: Any) -> Iterator[Any]:
        raise AssertionError("nothing is to be made")

    done = run(
        "images", "batch", nothing, "generate-batch", "acme", str(file), "--out", str(tmp_path / "out")
    )
    assert "line 2: prompt must be a text" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_stack_is_exported(tmp_path: Path) -> None:
    call = Recorder(tmp_path / "new" / "hero.safetensors")
    done = run(
        "stacks", "export", call, "stack", "export", "acme", "hero@prod:0.8", "neon:0.2:0.5",
        "--precision", "float32", "--base-model", "sd", "--output", str(tmp_path / "new"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert call.arguments == (
        "acme",
        (StackEntry("hero@prod", 0.8), StackEntry("neon", 0.5, 0.2)),
        tmp_path / "new",
    )
    assert call.settings["precision"] is ExportPrecision.FLOAT32
    assert call.settings["base_model"] == "sd"
    assert (tmp_path / "new").is_dir()
    assert "hero.safetensors" in done.stdout
    other = ("stack", "export", "acme", "hero", "--output", str(tmp_path / "t.bin"))
    assert run("stacks", "export", call, *other).exit_code == 2


def test_a_stack_is_pinned_and_let_go() -> None:
    until = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    call = Recorder(Pin(stack=(USED,), expire_time=until))
    done = run("stacks", "pin", call, "stack", "pin", "acme", "hero:0.8", "--for", "2h")
    assert call.settings == {"time_to_live": timedelta(hours=2), "base_model": ""}
    assert "acme/hero@3 at 0.8: kept until 2026-05-01" in done.stdout
    call = Recorder(Pin(stack=(USED,), expire_time=None))
    done = run("stacks", "pin", call, "stack", "pin", "acme", "hero:0.8", "--release")
    assert call.settings["time_to_live"] == timedelta(0)
    assert "not kept" in done.stdout
    call = Recorder(Pin(stack=(), expire_time=None))
    done = run("stacks", "pin", call, "stack", "pin", "acme", "hero:0.8", "--release")
    assert "it was not pinned" in done.stdout
    long = run("stacks", "pin", call, "stack", "pin", "acme", "hero", "--for", "99d")
    assert "99d is not from 1s to 1d" in long.stderr
    for options in ((), ("--for", "2h", "--release"), ("--for", "soon"), ("--for", "0s"), ("--for", "25h")):
        assert run("stacks", "pin", call, "stack", "pin", "acme", "hero", *options).exit_code == 2


def test_capacity_tells_pins_texts_and_stopping() -> None:
    pinned = PinnedStack(
        parent="brands/acme",
        stack=(USED,),
        base_model_sha256="cd",
        expire_time=datetime(2026, 5, 1, 12, 0, tzinfo=UTC),
    )
    now = Capacity(
        engine_ready=True,
        active_rows=1,
        max_rows=8,
        queued_requests=2,
        max_queued_requests=64,
        bases=(),
        caches=(),
        samplers=(Sampler.EULER,),
        max_width=512,
        max_height=512,
        pins=(pinned, replace(pinned, expire_time=None)),
        active_text_rows=3,
        max_text_rows=16,
        draining=True,
    )
    done = run("images", "capacity", Recorder(now), "capacity")
    words = " ".join(done.stdout.split())
    assert "ready, the service is stopping" in words
    assert "text rows 3 of 16" in words
    assert "acme/hero@3 at 0.8 2026-05-01" in words
    assert "acme/hero@3 at 0.8 always" in words
