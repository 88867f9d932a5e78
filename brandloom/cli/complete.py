"""`brandloom complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brandloom import FinishReason, Queued, TextFinished, TextMessage, TextPiece
from brandloom._names import short
from brandloom.cli.framework import Command
from brandloom.cli.plain import visible
from brandloom.cli.session import Session, pass_session
from brandloom.cli.stack import StackParameter

_ROLES = ("system", "user", "assistant")


class MessageParameter(click.ParamType[TextMessage]):
    """`user=What do you sell?`."""

    name = "ROLE=TEXT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> TextMessage:
        """The message; a usage error for another role."""
        if isinstance(value, TextMessage):
            return value
        role, equals, content = value.partition("=")
        if not equals or role not in _ROLES:
            raise click.BadParameter(f"{value!r} is not ROLE=TEXT with {' or '.join(_ROLES)}", ctx, param)
        return TextMessage(role=role, content=content)


@click.command(cls=Command)
@click.argument("brand")
@click.argument("prompt", default="")
@click.option(
    "--lora", "stack", multiple=True, type=StackParameter(), help="Repeatable: voice, voice@prod:0.6."
)
@click.option(
    "--message",
    "messages",
    multiple=True,
    type=MessageParameter(),
    help="Repeatable, in place of a prompt: a conversation, its last message the user's.",
)
@click.option("--max-tokens", type=click.IntRange(1), help="Tokens to generate at most (default: 256).")
@click.option("--temperature", type=float, help="0: always the likeliest token (default: 1).")
@click.option("--top-p", type=float, help="Draw from the likeliest tokens of this probability together.")
@click.option("--top-k", default=0, help="Draw from so many of the likeliest tokens.")
@click.option("--min-p", default=0.0, help="Draw from tokens this probable relative to the likeliest.")
@click.option("--repetition-penalty", type=float, help="Divides the scores of tokens that occurred before.")
@click.option("--stop", multiple=True, help="Repeatable: the text ends before it.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="The same seed writes the same text.")
@click.option(
    "--json-schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the JSON schema that the text must satisfy.",
)
@click.option("--priority", default=0, help="Larger goes first among requests of the same brand.")
@click.option("--base-model", default="", help="Name of a language model (default: the service's own).")
@pass_session
def complete(
    session: Session,
    /,
    brand: str,
    prompt: str,
    json_schema: Path | None,
    **settings: Any,
) -> None:
    """Write a text with a stack of LoRAs; it appears as it is written.

    \b
    brandloom complete acme '<lora:voice:0.8> A line for the summer sale:' --max-tokens 40
    """
    schema = _schema_text(json_schema) if json_schema else ""
    pieces: list[str] = []
    request: Queued | None = None
    finished: TextFinished | None = None
    for event in session.client.completions.stream(brand, prompt, json_schema=schema, **settings):
        match event:
            case Queued():
                request = event
                _tell(session, event)
            case TextPiece():
                pieces.append(event.text)
                if not session.json:
                    click.echo(visible(event.text), nl=False)
            case TextFinished():
                finished = event
    if session.json:
        session.write_json({"text": "".join(pieces), "finished": finished, "request": request})
        return
    click.echo()
    if finished is not None and finished.reason is FinishReason.LENGTH:
        session.note(f"cut after {finished.generated_tokens} tokens")


def _schema_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--json-schema: {file} is not UTF-8 text") from error


def _tell(session: Session, event: Queued) -> None:
    if event.position:
        session.note(f"{event.position} requests before this one")
    for lora in event.stack:
        session.note(f"with {short(lora.version)} at {lora.weight:g}")
