"""`brandloom base-models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brandloom import BaseModel
from brandloom._names import short
from brandloom.cli.base_model_source import register
from brandloom.cli.framework import Group
from brandloom.cli.options import changes, confirmed, listing
from brandloom.cli.plain import moment
from brandloom.cli.session import Session, facts, pass_session


@click.group("base-models", cls=Group)
def base_models() -> None:
    """Frozen models that LoRAs are trained on and served with."""


@base_models.command("register")
@click.argument("base_model_id")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--license", "license_", default="", help="Name of the licence, such as apache-2.0.")
@click.option("--description", default="", help="What it is and what it is for.")
@pass_session
def register_command(
    session: Session, base_model_id: str, path: Path, license_: str, description: str
) -> None:
    """Register a pipeline folder or a checkpoint file that the services can read under the same path."""
    model = register(session.client, base_model_id, path, license_name=license_, description=description)
    session.show(model, _facts)


@base_models.command("list")
@listing
@pass_session
def list_base_models(session: Session, filter_: str, order_by: str, limit: int | None) -> None:
    """List base models."""
    session.show_list(
        session.client.base_models.list(filter=filter_, order_by=order_by),
        ("base model", "family", "resolution", "sha256", "source"),
        lambda model: (short(model.name), model.family, model.resolution, model.sha256[:12], model.source),
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
@click.option("--source", help="Path where the services find it now; the weights must be the same.")
@click.option("--license", "license_", help="Name of the licence, such as apache-2.0.")
@click.option("--description", help="What it is and what it is for.")
@pass_session
def update(
    session: Session,
    base_model: str,
    display_name: str | None,
    source: str | None,
    license_: str | None,
    description: str | None,
) -> None:
    """Change a base model's texts or path; family and digest never change."""
    wanted = changes(display_name=display_name, source=source, license=license_, description=description)
    session.show(session.client.base_models.update(base_model, **wanted), _facts)


@base_models.command()
@click.argument("base_model")
@confirmed
@pass_session
def delete(session: Session, base_model: str) -> None:
    """Delete a base model that no LoRA version names."""
    session.client.base_models.delete(base_model)
    session.deleted(base_model)


def _facts(model: BaseModel) -> Any:
    return facts(
        [
            ("name", model.name),
            ("display name", model.display_name),
            ("family", model.family),
            ("resolution", model.resolution),
            ("sha256", model.sha256),
            ("source", model.source),
            ("license", model.license),
            ("description", model.description),
            ("created", moment(model.create_time)),
        ]
    )
