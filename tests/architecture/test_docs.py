"""Links in the documentation lead somewhere, and the commands in it are commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from brandloom.cli.main import cli
from services.inference.config import read_config as read_inference
from services.labeler.config import read_config as read_labeler
from services.registry.config import read_config as read_registry
from services.trainer.config import read_config as read_trainer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "demo").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)")
COMMAND = re.compile(r"(?:^\$ |`|\bexec \w+ )(?:\.venv/bin/)?brandloom ([^`\n]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_there_with_their_options(page: Path) -> None:
    for line in COMMAND.findall(page.read_text(encoding="utf-8")):
        command: click.Command = cli
        for word in shlex.split(line.replace("\\|", "|").partition("|")[0], comments=True):
            if isinstance(command, click.Group) and not word.startswith("-"):
                assert word in command.commands, f"brandloom {line}"
                command = command.commands[word]
            elif word.startswith("-"):
                known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
                assert word.partition("=")[0] in known | {"-h", "--help"}, f"brandloom {line}"


def test_the_readme_tells_the_ports() -> None:
    row = re.compile(r"^\| (\w+) \| .+ \| (\d+) \| (\d+) \|$", re.MULTILINE)
    rows = row.findall(PAGES[0].read_text(encoding="utf-8"))
    readers = (read_registry, read_labeler, read_trainer, read_inference)
    common = [read({}).common for read in readers]
    assert rows == [
        (config.service, config.listen.rpartition(":")[2], config.metrics_listen.rpartition(":")[2])
        for config in common
    ]


def test_the_documentation_does_name_commands() -> None:
    assert sum(len(COMMAND.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 80
