"""`brandloom completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from brandloom.cli.framework import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands and options.

    \b
    bash:  eval "$(brandloom completion bash)"
    zsh:   eval "$(brandloom completion zsh)"
    fish:  brandloom completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "brandloom", "_BRANDLOOM_COMPLETE").source())
