"""`brandloom base-models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from brandloom import BaseModel, ModelFamily
from brandloom._names import short
from brandloom.cli.base_model_source import Given, examine, register
from brandloom.cli.framework import Group
from brandloom.cli.options import changes, confirmed, guarded, listing
from brandloom.cli.plain import moment
from brandloom.cli.session import Session, facts, pass_session

_FAMILIES: Final = [family.lower() for family in ModelFamily if family is not ModelFamily.UNSPECIFIED]


@click.group("base-models", cls=Group)
def base_models() -> None:
    """Frozen models that LoRAs are trained on and served with."""


@base_models.command("register")
@click.argument("base_model_id")
@click.argument("source")
@click.option("--family", type=click.Choice(_FAMILIES), help="Family, if its files should not decide.")
@click.option(
    "--resolution", type=click.IntRange(8), help="Pixels on a side, if its files should not decide."
)
@click.option("--sha256", default="", help="Its digest; what is on this machine must have it.")
@click.option(
    "--copy",
    type=click.Path(exists=True, path_type=Path),
    help="A copy of the source on this machine, to find out about it.",
)
@click.option("--license", "license_", default="", help="Name of the licence, such as apache-2.0.")
@click.option("--description", default="", help="What it is and what it is for.")
@pass_session
def register_command(
    session: Session,
    base_model_id: str,
    source: str,
    family: str | None,
    resolution: int | None,
    sha256: str,
    copy: Path | None,
    license_: str,
    description: str,
) -> None:
    """Register a base model from SOURCE, where the services find it.

    SOURCE is a pipeline folder or .safetensors checkpoint that they see under the same path, a hub id
    (OWNER/NAME[@REVISION]), or s3://BUCKET/KEY. Family, resolution and digest are found out from the files on
    this machine, a checkpoint's header or a folder's configurations, and told.
    """
    given = Given(
        copy=copy,
        family=ModelFamily[family.upper()] if family else None,
        resolution=resolution,
        sha256=sha256.lower(),
        license=license_,
        description=description,
    )
    found = examine(source, given)
    session.note(f"found {found}")
    session.show(register(session.client, base_model_id, found, given), _facts)


@base_models.command("list")
@listing
@pass_session
def list_base_models(session: Session, filter_: str, order_by: str, limit: int | None) -> None:
    """List base models."""
    session.show_list(
        session.client.base_models.list(filter=filter_, order_by=order_by),
        ("base model", "family", "resolution", "sha256", "source"),
        lambda model: (short(model.name), model.family, _pixels(model), model.sha256[:12], model.source),
        limit=limit,
    )


@base_models.command()
@click.argument("base_model")
@pass_session
def get(session: Session, base_model: str) -> None:
    """Show a base model."""
    session.show(session.client.base_models.get(base_model), _facts)


@base_models.command()
@click.argument("base_model")
@click.option("--display-name", help="A name for people.")
@click.option("--source", help="Where the services find it now; the weights must be the same.")
@click.option("--license", "license_", help="Name of the licence, such as apache-2.0.")
@click.option("--description", help="What it is and what it is for.")
@guarded
@pass_session
def update(
    session: Session,
    base_model: str,
    display_name: str | None,
    source: str | None,
    license_: str | None,
    description: str | None,
    etag: str,
) -> None:
    """Change a base model's texts or source; family and digest never change."""
    wanted = changes(display_name=display_name, source=source, license=license_, description=description)
    session.show(session.client.base_models.update(base_model, etag=etag, **wanted), _facts)


@base_models.command()
@click.argument("base_model")
@confirmed
@guarded
@pass_session
def delete(session: Session, base_model: str, etag: str) -> None:
    """Delete a base model that no LoRA version names."""
    session.client.base_models.delete(base_model, etag=etag)
    session.deleted(base_model)


def _pixels(model: BaseModel) -> str:
    return f"{model.resolution} px" if model.resolution else ""


def _facts(model: BaseModel) -> Any:
    return facts(
        [
            ("name", model.name),
            ("display name", model.display_name),
            ("family", model.family),
            ("resolution", _pixels(model)),
            ("sha256", model.sha256),
            ("source", model.source),
            ("license", model.license),
            ("description", model.description),
            ("created", moment(model.create_time)),
        ]
    )
