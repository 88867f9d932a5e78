"""`brandloom brands`."""

from __future__ import annotations

from typing import Any

import click

from brandloom import Brand
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.options import changes, confirmed, guarded, listing
from brandloom.cli.plain import moment
from brandloom.cli.session import Session, facts, pass_session


@click.group(cls=Group)
def brands() -> None:
    """Brands: whoever may use one may use all that belongs to it."""


@brands.command()
@click.argument("brand_id")
@click.option("--display-name", default="", help="A name for people.")
@click.option("--description", default="", help="What it is and what it is for.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Repeatable.")
@pass_session
def create(
    session: Session, brand_id: str, display_name: str, description: str, labels: tuple[str, ...]
) -> None:
    """Make a brand."""
    brand = session.client.brands.create(
        brand_id, display_name=display_name, description=description, labels=_pairs(labels)
    )
    session.show(brand, _facts)


@brands.command("list")
@listing
@pass_session
def list_brands(session: Session, filter_: str, order_by: str, limit: int | None) -> None:
    """List brands."""
    session.show_list(
        session.client.brands.list(filter=filter_, order_by=order_by),
        ("brand", "display name", "created"),
        lambda brand: (short(brand.name), brand.display_name, moment(brand.create_time)),
        limit=limit,
    )


@brands.command()
@click.argument("brand")
@pass_session
def get(session: Session, brand: str) -> None:
    """Show a brand."""
    session.show(session.client.brands.get(brand), _facts)


@brands.command()
@click.argument("brand")
@click.option("--display-name", help="A name for people.")
@click.option("--description", help="What it is and what it is for.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="A label to have, in place of all it has.",
)
@click.option("--no-labels", is_flag=True, help="Take all labels away.")
@guarded
@pass_session
def update(
    session: Session,
    brand: str,
    display_name: str | None,
    description: str | None,
    labels: tuple[str, ...],
    no_labels: bool,
    etag: str,
) -> None:
    """Change a brand's texts and labels."""
    if labels and no_labels:
        raise click.UsageError("--label and --no-labels exclude each other")
    pairs = _pairs(labels) if labels or no_labels else None
    wanted = changes(display_name=display_name, description=description, labels=pairs)
    session.show(session.client.brands.update(brand, etag=etag, **wanted), _facts)


@brands.command()
@click.argument("brand")
@confirmed
@guarded
@pass_session
def delete(session: Session, brand: str, etag: str) -> None:
    """Delete a brand that has no LoRAs."""
    session.client.brands.delete(brand, etag=etag)
    session.deleted(brand)


def _pairs(labels: tuple[str, ...]) -> dict[str, str]:
    return dict(_pair(label) for label in labels)


def _pair(label: str) -> tuple[str, str]:
    key, separator, value = label.partition("=")
    if not separator:
        raise click.BadParameter(f"{label!r} is not KEY=VALUE", param_hint="--label")
    return key, value


def _facts(brand: Brand) -> Any:
    return facts(
        [
            ("name", brand.name),
            ("display name", brand.display_name),
            ("description", brand.description),
            ("labels", " ".join(f"{key}={value}" for key, value in brand.labels.items())),
            ("created", moment(brand.create_time)),
            ("updated", moment(brand.update_time)),
        ]
    )
