"""The command as a process: usage, help, completion, exit statuses that need no service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from brandloom.cli.main import cli, main


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs the command in this process, with a home of its own that holds a token."""
    (tmp_path / "token").write_text("t")
    for name in [name for name in os.environ if name.startswith("BRANDLOOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BRANDLOOM_HOME", str(tmp_path))

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["brandloom", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Done(int(stop.value.code or 0), captured.out, captured.err)

    return call


def all_commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += all_commands(command, (*path, name))
    return found


@pytest.mark.parametrize(
    ("path", "command"), all_commands(cli), ids=lambda item: " ".join(item) if isinstance(item, tuple) else ""
)
def test_every_command_explains_itself_and_takes_json(path: tuple[str, ...], command: click.Command) -> None:
    context = click.Context(command, info_name=" ".join(path))
    assert command.help
    assert "--json" in command.get_help(context)
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_help_tells_the_exit_statuses(run: Callable[..., Done]) -> None:
    done = run("--help")
    assert done.status == 0
    assert "130  interrupted" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, run: Callable[..., Done]) -> None:
    assert "_BRANDLOOM_COMPLETE" in run("completion", shell).stdout


def test_completion_answers_a_shell() -> None:
    environment = {
        **os.environ,
        "_BRANDLOOM_COMPLETE": "bash_complete",
        "COMP_WORDS": "brandloom datasets ",
        "COMP_CWORD": "2",
    }
    code = "from brandloom.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert "plain,upload" in done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_the_script_completes_in_bash(tmp_path: Path) -> None:
    command = tmp_path / "brandloom"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m brandloom "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(brandloom completion bash)"
        complete -p brandloom
        COMP_WORDS=(brandloom versions u) COMP_CWORD=2
        _brandloom_completion brandloom u versions
        printf '%s\n' "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    first, *completions = done.stdout.splitlines()
    assert first.startswith("complete") and first.endswith("_brandloom_completion brandloom")
    assert sorted(completions) == ["update", "upload", "url"]


def test_no_token_is_a_usage_error(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "token").unlink()
    done = run("brands", "list")
    assert done.status == 2
    assert done.stderr.startswith("Error: no token")


def test_nobody_there_is_unavailable(run: Callable[..., Done]) -> None:
    done = run("--registry", "127.0.0.1:1", "--timeout", "30", "brands", "list")
    assert done.status == 5
    assert "the registry at 127.0.0.1:1 cannot be reached" in done.stderr


def test_with_json_errors_are_json_too(run: Callable[..., Done]) -> None:
    done = run("--registry", "127.0.0.1:1", "--timeout", "30", "brands", "list", "--json")
    assert (done.status, done.stdout) == (5, "")
    error = json.loads(done.stderr)["error"]
    assert (error["kind"], error["reason"]) == ("Unavailable", "UNAVAILABLE")
    assert "127.0.0.1:1" in error["message"]


def test_ctrl_c_is_130(run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    done = run("brands", "list")
    assert (done.status, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("brands", "create"),
        ("jobs", "create", "acme/hero"),
        ("generate", "acme", "a cat", "--lora", "hero:heavy"),
        ("generate", "acme", "a cat", "--count", "2", "--output", "one.png"),
        ("datasets", "edit-captions", "acme/x", "--prefix", "a", "--suffix", "b"),
        ("train", "--config", "/nonexistent.yaml"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], run: Callable[..., Done]) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert "Error:" in done.stderr


def test_the_installed_command_runs() -> None:
    code = "from brandloom.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "brandloom" in done.stdout


def test_two_lengths_of_a_training_exclude_each_other(run: Callable[..., Done]) -> None:
    spec = ("jobs", "create", "acme/hero", "--dataset", "acme/pictures", "--base-model", "sd")
    done = run(*spec, "--epochs", "2", "--max-steps", "9")
    assert done.status == 2
    assert "--epochs and --max-steps exclude each other" in done.stderr
