"""The reference page of the command, written from what `--help` says: `python -m brandloom.cli.reference`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

import click

from brandloom.cli import exit_codes
from brandloom.cli.main import cli

_INTRODUCTION: Final = """# The command line

Written by `make docs` from what `brandloom --help` says; a test compares the two.

`brandloom` comes with `pip install .` and finds the services of `make run` by itself. Every command has
`-h`/`--help`, and `--json` for scripts: one document on stdout, or one event a line where something is
followed; an error is then a line of JSON on stderr. Progress and remarks go to stderr, results to stdout: a
table where a person reads, without colours in a pipe.

Resources go by short names: `acme/hero` for a dataset or a LoRA of the brand `acme`, `acme/hero@prod` or
`acme/hero@3` for a version of the LoRA, `acme/hero@2` for a revision of the dataset, `acme/0190...` for a
training job, `acme/hero/0190...` for a picture or a captioning job of a dataset. Full names
(`brands/acme/loras/hero/versions/3`) are taken everywhere too.

## Completion in shells

Commands, options and their choices are completed after one of these, put into the shell's start file:

| shell | line |
|---|---|
| bash (`~/.bashrc`) | `eval "$(brandloom completion bash)"` |
| zsh (`~/.zshrc`) | `eval "$(brandloom completion zsh)"` |
| fish (`~/.config/fish/config.fish`) | `brandloom completion fish \\| source` |
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION, _exit_statuses(), *_sections(cli, _context(cli, "brandloom", None), 2)]
    return "\n".join(parts)


def _exit_statuses() -> str:
    _, _, lines = exit_codes.HELP.partition("\n")
    rows = [line.strip().partition(" ") for line in lines.splitlines()[1:]]
    table = "\n".join(f"| {status} | {meaning.strip()} |" for status, _, meaning in rows)
    return f"## Exit status\n\n| status | meaning |\n|---|---|\n{table}\n"


def _sections(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    title = context.command_path if isinstance(command, click.Group) else usage.replace(" [OPTIONS]", "")
    yield f"{'#' * level} `{title}`\n"
    yield _prose(command.help or "")
    if command.epilog and command is not cli:
        yield _prose(command.epilog)
    yield from _options(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.commands[name]
            yield from _sections(below, _context(below, name, context), level + 1)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [
        record
        for option in command.params
        if isinstance(option, click.Option) and option.name != "json"
        if (record := option.get_help_record(context))
    ]
    if records:
        rows = [f"| `{_cell(names)}` | {_cell(meaning)} |" for names, meaning in records]
        yield "\n".join(["| option | meaning |", "|---|---|", *rows, ""])


def _prose(text: str) -> str:
    """Help as Markdown: paragraphs that click shows as they are become code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            paragraphs.append(f"```text\n{paragraph[2:]}\n```")
        else:
            paragraphs.append(" ".join(paragraph.replace("<", "\\<").split()))
    return "\n\n".join(paragraphs) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent)


if __name__ == "__main__":
    click.echo(page(), nl=False)
