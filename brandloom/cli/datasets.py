"""`brandloom datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brandloom import CaptionFormat, Dataset, JobFailed, UploadOutcome
from brandloom._names import short
from brandloom.cli import exit_codes
from brandloom.cli.dataset_captions import edit_captions, import_captions
from brandloom.cli.framework import Group
from brandloom.cli.labels import follow_label_job, label_facts
from brandloom.cli.options import changes, confirmed, guarded, listing
from brandloom.cli.plain import moment, words
from brandloom.cli.progress import transfer
from brandloom.cli.revisions import revision_facts
from brandloom.cli.session import Session, facts, pass_session, table


@click.group(cls=Group)
def datasets() -> None:
    """Pictures with captions, or texts, from upload to sealed revision.

    A dataset holds the one or the other: `brandloom texts` is for texts.
    """


@datasets.command()
@click.argument("dataset")
@click.option("--display-name", default="", help="A name for people.")
@click.option("--description", default="", help="What it is and what it is for.")
@pass_session
def create(session: Session, dataset: str, display_name: str, description: str) -> None:
    """Make a dataset (BRAND/DATASET)."""
    brand, _, dataset_id = dataset.rpartition("/")
    if not brand:
        raise click.BadParameter("must look like BRAND/DATASET", param_hint="DATASET")
    brand = brand.removesuffix("/datasets")
    made = session.client.datasets.create(
        brand, dataset_id, display_name=display_name, description=description
    )
    session.show(made, _facts)


@datasets.command("list")
@click.argument("brand")
@listing
@pass_session
def list_datasets(session: Session, brand: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List a brand's datasets."""
    session.show_list(
        session.client.datasets.list(brand, filter=filter_, order_by=order_by),
        ("dataset", "pictures", "captioned", "flagged", "texts", "revision", "updated"),
        lambda dataset: (
            short(dataset.name),
            dataset.image_count,
            dataset.captioned_count,
            dataset.flagged_count,
            dataset.text_count,
            dataset.latest_revision or "",
            moment(dataset.update_time),
        ),
        limit=limit,
    )


@datasets.command()
@click.argument("dataset")
@pass_session
def get(session: Session, dataset: str) -> None:
    """Show a dataset and its counts."""
    session.show(session.client.datasets.get(dataset), _facts)


@datasets.command()
@click.argument("dataset")
@click.option("--display-name", help="A name for people.")
@click.option("--description", help="What it is and what it is for.")
@guarded
@pass_session
def update(
    session: Session, dataset: str, display_name: str | None, description: str | None, etag: str
) -> None:
    """Change a dataset's texts."""
    wanted = changes(display_name=display_name, description=description)
    session.show(session.client.datasets.update(dataset, etag=etag, **wanted), _facts)


@datasets.command()
@click.argument("dataset")
@click.option("--force", is_flag=True, help="Although it holds something. Sealed revisions stay.")
@confirmed
@guarded
@pass_session
def delete(session: Session, dataset: str, force: bool, etag: str) -> None:
    """Delete a dataset."""
    session.client.datasets.delete(dataset, force=force, etag=etag)
    session.deleted(dataset)


@datasets.command()
@click.argument("dataset")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--sidecars", is_flag=True, help="Take captions from <picture>.txt files.")
@click.option("--min-side", default=0, help="Flag pictures whose shorter side is below (default: 512).")
@pass_session
def upload(session: Session, dataset: str, paths: tuple[Path, ...], sidecars: bool, min_side: int) -> None:
    """Upload pictures, folders of pictures and .zip archives; sending them again changes nothing.

    Exits with 1 when a picture was rejected; the others are kept.
    """
    with transfer(session, f"uploading to {dataset}") as report:
        result = session.client.datasets.upload(
            dataset, *paths, sidecars=sidecars, min_side=min_side, on_progress=report
        )
    remarkable = [item for item in result.results if item.failure or item.flags]
    if session.json:
        session.write_json(result)
    else:
        if remarkable:
            rows = [
                (item.source_name, item.outcome.lower(), words(item.flags).lower(), _why(item.failure))
                for item in remarkable
            ]
            session.print(table(("file", "outcome", "flags", "why"), rows))
        outcomes = [item.outcome for item in result.results]
        twice = outcomes.count(UploadOutcome.DUPLICATE)
        added = f"{result.added_count} added" + (f" ({twice} excluded as duplicates)" if twice else "")
        unchanged = outcomes.count(UploadOutcome.UNCHANGED)
        session.note(f"{added}, {result.rejected_count} rejected, {unchanged} unchanged")
    if result.rejected_count:
        click.get_current_context().exit(exit_codes.FAILED)


@datasets.command()
@click.argument("dataset")
@click.option("--trigger-word", default="", help="Put before every caption, followed by a comma.")
@click.option("--overwrite", is_flag=True, help="Caption again all that no reviewer has written.")
@click.option("--batch-size", default=0, help="Pictures at once (default: 8).")
@click.option("--max-tokens", default=0, help="Longest caption (default: 48).")
@click.option("--no-wait", is_flag=True, help="Start it and leave.")
@pass_session
def label(
    session: Session,
    dataset: str,
    trigger_word: str,
    overwrite: bool,
    batch_size: int,
    max_tokens: int,
    no_wait: bool,
) -> None:
    """Caption the pictures with the service's captioner."""
    job = session.client.labeling.create(
        dataset,
        trigger_word=trigger_word,
        overwrite=overwrite,
        batch_size=batch_size,
        max_tokens=max_tokens,
    )
    if not no_wait:
        job = follow_label_job(session, job)
    session.show(job, label_facts)
    if job.state.ended and job.error:
        raise JobFailed(job)


@datasets.command()
@click.argument("dataset")
@click.option("--trigger-word", "trigger_words", multiple=True, help="Words that will call the LoRA.")
@click.option("--note", default="", help="What is new in it.")
@click.option("--allow-empty-captions", is_flag=True, help="Although pictures have no caption.")
@pass_session
def seal(
    session: Session, dataset: str, trigger_words: tuple[str, ...], note: str, allow_empty_captions: bool
) -> None:
    """Fix the dataset's state as a new immutable revision."""
    revision = session.client.datasets.seal(
        dataset, trigger_words=trigger_words, note=note, allow_empty_captions=allow_empty_captions
    )
    session.show(revision, revision_facts)


@datasets.command()
@click.argument("dataset")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice([item.lower() for item in CaptionFormat]),
    help="Layout of the captions (default: csv). Texts are jsonl.",
)
@click.option("--images", "include_images", is_flag=True, help="A .zip with the pictures too.")
@pass_session
def export(
    session: Session, dataset: str, destination: Path, format_: str | None, include_images: bool
) -> None:
    """Write captions or texts of a dataset or revision (BRAND/DATASET@3) to a file or into a folder."""
    with transfer(session, f"exporting {dataset}") as report:
        path = session.client.datasets.export(
            dataset,
            destination,
            format=CaptionFormat(format_.upper()) if format_ else None,
            include_images=include_images,
            on_progress=report,
        )
    session.show({"path": path}, lambda result: str(result["path"]))


for command in (edit_captions, import_captions):
    datasets.add_command(command)


def _why(failure: Any) -> str:
    return failure.message if failure else ""


def _counts(dataset: Dataset) -> list[tuple[str, str]]:
    if dataset.text_count:
        return [("texts", str(dataset.text_count))]
    return [
        ("pictures", str(dataset.image_count)),
        ("captioned", str(dataset.captioned_count)),
        ("flagged", str(dataset.flagged_count)),
    ]


def _facts(dataset: Dataset) -> Any:
    return facts(
        [
            ("name", dataset.name),
            ("display name", dataset.display_name),
            ("description", dataset.description),
            *_counts(dataset),
            ("revision", dataset.latest_revision or "none sealed yet"),
            ("updated", moment(dataset.update_time)),
        ]
    )
