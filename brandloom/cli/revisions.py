"""`brandloom revisions`."""

from __future__ import annotations

from typing import Any

import click

from brandloom import DatasetRevision
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.plain import moment, size, words
from brandloom.cli.session import Session, facts, pass_session


@click.group(cls=Group)
def revisions() -> None:
    """Sealed revisions of datasets.

    `brandloom datasets seal` makes one.
    """


@revisions.command("list")
@click.argument("dataset")
@pass_session
def list_revisions(session: Session, dataset: str) -> None:
    """List a dataset's sealed revisions."""
    session.show_list(
        session.client.datasets.revisions(dataset),
        ("revision", "holds", "trigger words", "sha256", "sealed", "note"),
        lambda item: (
            short(item.name),
            _holds(item),
            words(item.trigger_words),
            item.manifest.sha256[:12],
            moment(item.create_time),
            item.note,
        ),
    )


@revisions.command()
@click.argument("revision")
@pass_session
def get(session: Session, revision: str) -> None:
    """Show a revision: BRAND/DATASET@3, or BRAND/DATASET for the newest."""
    session.show(session.client.datasets.revision(revision), revision_facts)


def revision_facts(revision: DatasetRevision) -> Any:
    """The revision for a terminal."""
    return facts(
        [
            ("name", revision.name),
            ("holds", _holds(revision)),
            ("trigger words", words(revision.trigger_words)),
            ("sha256", revision.manifest.sha256),
            ("manifest", size(revision.manifest.size_bytes)),
            ("note", revision.note),
            ("sealed", f"{moment(revision.create_time)} by {revision.creator}"),
        ]
    )


def _holds(revision: DatasetRevision) -> str:
    return f"{revision.text_count} texts" if revision.text_count else f"{revision.image_count} pictures"
