"""`brandloom images`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brandloom import Image
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.options import changes, confirmed, guarded, listing, new_tags, retagged
from brandloom.cli.plain import moment, words
from brandloom.cli.session import Session, facts, pass_session


@click.group(cls=Group)
def images() -> None:
    """Pictures of datasets.

    `brandloom datasets upload` adds some. An IMAGE goes by BRAND/DATASET/ID, as `list` shows it.
    """


@images.command("list")
@click.argument("dataset")
@listing
@pass_session
def list_images(session: Session, dataset: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List a dataset's pictures, such as --filter 'flags:TOO_SMALL'."""
    session.show_list(
        session.client.datasets.images(dataset, filter=filter_, order_by=order_by),
        ("picture", "file", "pixels", "flags", "caption"),
        lambda image: (
            short(image.name),
            image.source_name,
            _pixels(image),
            words(_remarks(image)),
            image.caption,
        ),
        limit=limit,
    )


@images.command()
@click.argument("image")
@pass_session
def get(session: Session, image: str) -> None:
    """Show a picture's caption, flags and origin."""
    session.show(session.client.datasets.image(image), _facts)


@images.command()
@click.argument("image")
@click.argument("text")
@guarded
@pass_session
def caption(session: Session, image: str, text: str, etag: str) -> None:
    """Write a picture's caption, as a reviewer."""
    session.show(session.client.captions.set(image, text, etag=etag), _facts)


@images.command()
@click.argument("image")
@click.option("--split", type=click.Choice(["train", "validation"]), help="What it is used for.")
@click.option("--exclude/--include", "excluded", default=None, help="Whether revisions leave it out.")
@retagged
@guarded
@pass_session
def update(
    session: Session,
    image: str,
    split: str | None,
    excluded: bool | None,
    tags: tuple[str, ...],
    no_tags: bool,
    etag: str,
) -> None:
    """Change a picture's tags and split, or whether revisions leave it out."""
    wanted = changes(split=split, excluded=excluded, tags=new_tags(tags, no_tags))
    session.show(session.client.datasets.update_image(image, etag=etag, **wanted), _facts)


@images.command()
@click.argument("image")
@click.argument("destination", type=click.Path(path_type=Path), default=".")
@pass_session
def download(session: Session, image: str, destination: Path) -> None:
    """Write a picture to a path or into a folder, as captioner and trainer see it: upright, RGB, PNG."""
    path = session.client.datasets.download_image(image, destination)
    session.show({"path": path}, lambda result: str(result["path"]))


@images.command()
@click.argument("image")
@confirmed
@guarded
@pass_session
def delete(session: Session, image: str, etag: str) -> None:
    """Take a picture out of its dataset; sealed revisions keep it."""
    session.client.datasets.delete_image(image, etag=etag)
    session.deleted(image)


def _pixels(image: Image) -> str:
    return f"{image.width}x{image.height}" if image.width else ""


def _remarks(image: Image) -> list[str]:
    return [*(flag.lower() for flag in image.flags), *(["excluded"] if image.excluded else [])]


def _facts(image: Image) -> Any:
    return facts(
        [
            ("name", image.name),
            ("file", image.source_name),
            ("format", image.source_format),
            ("caption", image.caption or "none"),
            ("written by", image.caption_source.lower() if image.caption else ""),
            ("pixels", _pixels(image)),
            ("tags", words(image.tags)),
            ("flags", words(_remarks(image))),
            ("split", image.split),
            ("duplicate of", short(image.duplicate_of)),
            ("unreadable", image.failure.message if image.failure else ""),
            ("uploaded", moment(image.create_time)),
        ]
    )
