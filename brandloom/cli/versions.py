"""`brandloom versions`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text
from rich.tree import Tree

from brandloom import DownloadUrl, Lineage
from brandloom._names import short
from brandloom.cli.framework import Group
from brandloom.cli.options import changes, guarded, listing, new_tags, retagged
from brandloom.cli.plain import moment, size, words
from brandloom.cli.progress import transfer
from brandloom.cli.session import Session, pass_session
from brandloom.cli.version_facts import version_facts


@click.group(cls=Group)
def versions() -> None:
    """Versions of LoRAs: immutable files of weights."""


@versions.command("list")
@click.argument("lora")
@listing
@pass_session
def list_versions(session: Session, lora: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List a LoRA's versions."""
    session.show_list(
        session.client.versions.list(lora, filter=filter_, order_by=order_by),
        ("version", "aliases", "format", "rank", "size", "sha256", "base model", "made by", "created"),
        lambda item: (
            short(item.name),
            words(item.aliases),
            item.format.lower(),
            item.rank,
            size(item.artifact.size_bytes),
            item.artifact.sha256[:12],
            short(item.base_model) or item.base_model_sha256[:12],
            short(item.origin.training_job) or "upload",
            moment(item.create_time),
        ),
        limit=limit,
    )


@versions.command()
@click.argument("version")
@pass_session
def get(session: Session, version: str) -> None:
    """Show a version and what made it: BRAND/LORA@3, BRAND/LORA@prod, or BRAND/LORA for the newest."""
    session.show(session.client.versions.get(version), version_facts)


@versions.command()
@click.argument("lora")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base-model", default="", help="Name of the registered model that it was made for.")
@click.option("--trigger-word", "trigger_words", multiple=True, help="Words that call it; repeatable.")
@click.option("--tag", "tags", multiple=True, help="Repeatable.")
@click.option("--description", default="", help="What it is and what it is for.")
@click.option("--license", "license_", default="", help="Name of the licence, such as apache-2.0.")
@pass_session
def upload(
    session: Session,
    lora: str,
    path: Path,
    base_model: str,
    trigger_words: tuple[str, ...],
    tags: tuple[str, ...],
    description: str,
    license_: str,
) -> None:
    """Add a LoRA file made elsewhere (kohya or diffusers .safetensors) as the newest version."""
    with transfer(session, f"uploading {path.name}") as report:
        made = session.client.versions.upload(
            lora,
            path,
            base_model=base_model,
            trigger_words=trigger_words,
            tags=tags,
            description=description,
            license=license_,
            on_progress=report,
        )
    session.show(made, version_facts)


@versions.command()
@click.argument("version")
@click.option("--description", help="What it is and what it is for.")
@click.option("--license", "license_", help="Name of the licence, such as apache-2.0.")
@retagged
@guarded
@pass_session
def update(
    session: Session,
    version: str,
    description: str | None,
    license_: str | None,
    tags: tuple[str, ...],
    no_tags: bool,
    etag: str,
) -> None:
    """Correct a version's description, licence or tags; all else of it is fixed."""
    wanted = changes(description=description, license=license_, tags=new_tags(tags, no_tags))
    session.show(session.client.versions.update(version, etag=etag, **wanted), version_facts)


@versions.command()
@click.argument("version")
@click.argument("destination", type=click.Path(path_type=Path), default=".")
@click.option("--previews", is_flag=True, help="Its preview sheet, loss plot and previews, into a folder.")
@pass_session
def download(session: Session, version: str, destination: Path, previews: bool) -> None:
    """Write a version's file to a path or into a folder; its digest is checked."""
    if previews:
        paths = session.client.versions.download_previews(version, destination)
        session.show_list(paths, ("file",), lambda path: (path,))
        return
    with transfer(session, f"downloading {version}") as report:
        path = session.client.versions.download(version, destination, on_progress=report)
    session.show({"path": path}, lambda result: str(result["path"]))


@versions.command()
@click.argument("version")
@click.option(
    "--expires",
    "expires_seconds",
    type=click.IntRange(1, 86400),
    default=900,
    show_default=True,
    help="Seconds for which it can be used.",
)
@pass_session
def url(session: Session, version: str, expires_seconds: int) -> None:
    """Print an address from which the file can be fetched without a token.

    Only S3 stores have such addresses.
    """
    found = session.client.versions.download_url(version, expires_seconds=expires_seconds)
    session.show(found, _url)


@versions.command()
@click.argument("version")
@click.option("--depth", default=0, help="Steps to walk each way (default: 8).")
@pass_session
def lineage(session: Session, version: str, depth: int) -> None:
    """Show what a version comes from and what comes from it."""
    found = session.client.versions.get(version)
    session.show(
        session.client.versions.lineage(found, depth=depth), lambda result: lineage_tree(found.name, result)
    )


def _url(found: DownloadUrl) -> Text:
    # Printed as it is and on one line, so that it can be handed to curl.
    return Text(found.url, no_wrap=True, overflow="ignore")


def lineage_tree(name: str, lineage: Lineage) -> Tree:
    """The version as the root; what it comes from below it, what comes from it after that."""
    digests = {node.name: node.sha256[:12] for node in lineage.nodes}
    tree = Tree(_labelled(name, digests))
    _grow(tree, name, lineage, digests, seen={name})
    for edge in lineage.edges:
        if edge.source == name:
            tree.add(f"{edge.relation} of {_labelled(edge.target, digests)}")
    return tree


def _grow(tree: Tree, name: str, lineage: Lineage, digests: dict[str, str], *, seen: set[str]) -> None:
    for edge in lineage.edges:
        if edge.target == name and edge.source not in seen:
            branch = tree.add(f"{edge.relation.replace('_', ' ')} {_labelled(edge.source, digests)}")
            _grow(branch, edge.source, lineage, digests, seen=seen | {edge.source})


def _labelled(name: str, digests: dict[str, str]) -> str:
    digest = digests.get(name, "")
    return f"{name}  [dim]{digest}[/dim]" if digest else name
