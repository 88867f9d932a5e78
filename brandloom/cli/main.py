"""The root of the command, and how its errors end."""

from __future__ import annotations

import sys
from typing import Final, NoReturn

import click

from brandloom import errors
from brandloom.cli import exit_codes
from brandloom.cli.alias import alias
from brandloom.cli.base_models import base_models
from brandloom.cli.brands import brands
from brandloom.cli.capacity import capacity
from brandloom.cli.complete import complete
from brandloom.cli.completion import completion
from brandloom.cli.datasets import datasets
from brandloom.cli.failures import describe, document
from brandloom.cli.framework import Group
from brandloom.cli.generate import generate
from brandloom.cli.generate_batch import generate_batch
from brandloom.cli.images import images
from brandloom.cli.jobs import jobs
from brandloom.cli.label_jobs import label_jobs
from brandloom.cli.loras import loras
from brandloom.cli.pictures import pictures
from brandloom.cli.revisions import revisions
from brandloom.cli.services import services
from brandloom.cli.session import Session, pass_session
from brandloom.cli.stack import stack
from brandloom.cli.sweep import sweep
from brandloom.cli.texts import texts
from brandloom.cli.train import train
from brandloom.cli.versions import versions

# Wide terminals are used; help in a pipe keeps the usual 80 columns.
_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=Group, epilog=exit_codes.HELP, context_settings=_CONTEXT)
@click.option("--registry", metavar="HOST:PORT", help="Address; else $BRANDLOOM_REGISTRY_ADDRESS.")
@click.option("--labeler", metavar="HOST:PORT", help="Address; else $BRANDLOOM_LABELER_ADDRESS.")
@click.option("--trainer", metavar="HOST:PORT", help="Address; else $BRANDLOOM_TRAINER_ADDRESS.")
@click.option("--inference", metavar="HOST:PORT", help="Address; else $BRANDLOOM_INFERENCE_ADDRESS.")
@click.option(
    "--home", type=click.Path(), help="Folder of the token; else $BRANDLOOM_HOME, else ~/.brandloom."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="For a single answer.",
)
@click.version_option(package_name="brandloom")
@pass_session
def cli(
    session: Session,
    registry: str | None,
    labeler: str | None,
    trainer: str | None,
    inference: str | None,
    home: str | None,
    timeout: float,
) -> None:
    """Learn brands from pictures and texts, keep what was learned, and generate with any stack of it.

    Resources go by short names: acme/hero for a LoRA or dataset of brand acme, acme/hero@prod or acme/hero@3
    for one of its versions. The token comes from $BRANDLOOM_TOKEN or the file `token` in the home folder.
    """
    session.addresses = {
        "registry": registry,
        "labeler": labeler,
        "trainer": trainer,
        "inference": inference,
    }
    session.home = home
    session.timeout_seconds = timeout


for command in (
    brands,
    base_models,
    datasets,
    images,
    texts,
    label_jobs,
    revisions,
    jobs,
    train,
    loras,
    versions,
    alias,
    stack,
    generate,
    generate_batch,
    sweep,
    complete,
    pictures,
    capacity,
    services,
    completion,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Runs the command and exits with a status that scripts can act on; errors are a few lines on stderr, or
    a line of JSON.
    """
    session = Session()
    try:
        status = cli.main(prog_name="brandloom", standalone_mode=False, obj=session)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(exit_codes.USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(exit_codes.INTERRUPTED)
    except errors.BrandloomError as error:
        click.echo(document(error) if session.json else describe(error), err=True)
        sys.exit(exit_codes.exit_status(error))
    except BrokenPipeError:
        # The reader of our output (`head`) has gone: nothing is wrong, and nothing can be told.
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {place}{error.strerror or error}", err=True)
        sys.exit(exit_codes.FAILED)
    sys.exit(status if isinstance(status, int) else 0)
