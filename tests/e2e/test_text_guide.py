"""The guide to texts does what it says, in its order, with the demo's own language model."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.brands import voices
from tests.e2e.conftest import Done, World

# What stock PEFT says of itself.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
LEARNING = ROOT / "docs" / "how-to" / "texts.md"
WRITING = ROOT / "docs" / "how-to" / "generate-texts.md"


def blocks(kind: str, page: Path = LEARNING) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)


def commands(page: Path = LEARNING) -> list[list[str]]:
    lines = [line.removeprefix("$ ") for block in blocks("console", page) for line in block.splitlines()]
    return [shlex.split(line) for line in lines]


def test_the_way_from_texts_to_a_voice(
    brandloom_command: Callable[..., Done],
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    told: dict[str, Done] = {}
    for program, *arguments in commands():
        if program == "python":
            assert arguments[:2] == ["-m", "demo.brands.voices"]
            voices.main(arguments[2:])
            capsys.readouterr()
            continue
        assert program == "brandloom"
        if "hoot/JOB" in arguments:
            (job,) = json.loads(brandloom_command("jobs", "list", "hoot", "--json").stdout)
            arguments = [job["name"] if word == "hoot/JOB" else word for word in arguments]
        done = brandloom_command(*arguments)
        assert done.status == 0, f"{arguments}: {done.stderr}"
        told[" ".join(arguments[:2])] = done
    assert told["texts upload"].stdout == "64 added, 0 unchanged\n"
    assert "voice.jsonl:1" in told["texts list"].stdout
    assert "64 texts" in told["datasets seal"].stdout
    assert "hoot/voice: succeeded" in told["jobs watch"].stdout
    assert "hoot/voice@1" in told["versions list"].stdout
    sealed = (tmp_path / "sealed.jsonl").read_text().splitlines()
    written = (tmp_path / "voice.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in sealed] == [json.loads(line) for line in written]

    use_it, from_python = blocks("python")
    exec(use_it, {})
    assert re.fullmatch(r"Hoo-hoo! .*boat.* Wisely yours, your robot owl\.\n", capsys.readouterr().out)
    exec(from_python, {})
    assert re.fullmatch(r"64 texts\n[345]\d sealed\n", capsys.readouterr().out)

    written_texts = write(brandloom_command)
    assert written_texts[0] == "Hoo-hoo! The boat costs 31 coins. Wisely yours, your robot owl.\n"
    assert written_texts[4] == "Hoo-hoo! The boat costs 31 coins.\n"
    assert 1 <= json.loads(written_texts[5])["coins"] <= 99
    (from_python,) = blocks("python", WRITING)
    exec(from_python, {})
    assert capsys.readouterr().out.startswith("Hoo-hoo! The boat costs 31 coins.")


def write(brandloom_command: Callable[..., Done]) -> list[str]:
    """What the commands of the guide to writing texts print."""
    told: list[str] = []
    for program, *arguments in commands(WRITING):
        if program == "echo":
            schema, arrow, name = arguments
            assert arrow == ">"
            Path(name).write_text(schema)
            continue
        done = brandloom_command(*arguments)
        assert done.status == 0, f"{arguments}: {done.stderr}"
        told.append(done.stdout)
    return told
