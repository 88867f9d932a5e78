"""`brandloom datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brandloom import CaptionFormat, Dataset, DatasetRevision, Image, JobFailed, UploadOutcome
from brandloom._names import last_segment
from brandloom.cli import exit_codes
from brandloom.cli.framework import Group
from brandloom.cli.labels import follow_label_job, label_facts
from brandloom.cli.options import confirmed, listing
from brandloom.cli.plain import moment, words
from brandloom.cli.progress import transfer
from brandloom.cli.session import Session, facts, pass_session, table


@click.group(cls=Group)
def datasets() -> None:
    """Pictures with captions, from upload to sealed revision."""


@datasets.command()
@click.argument("dataset")
@click.option("--display-name", default="")
@click.option("--description", default="")
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
        ("dataset", "pictures", "captioned", "flagged", "revision", "updated"),
        lambda dataset: (
            dataset.name,
            dataset.image_count,
            dataset.captioned_count,
            dataset.flagged_count,
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
@click.option("--force", is_flag=True, help="Although it has pictures. Sealed revisions stay.")
@confirmed
@pass_session
def delete(session: Session, dataset: str, force: bool) -> None:
    """Delete a dataset."""
    session.client.datasets.delete(dataset, force=force)
    session.note(f"deleted {dataset}")


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
            session.out.print(table(("file", "outcome", "flags", "why"), rows))
        unchanged = sum(item.outcome is UploadOutcome.UNCHANGED for item in result.results)
        session.note(f"{result.added_count} added, {result.rejected_count} rejected, {unchanged} unchanged")
    if result.rejected_count:
        click.get_current_context().exit(exit_codes.FAILED)


@datasets.command()
@click.argument("dataset")
@listing
@pass_session
def images(session: Session, dataset: str, filter_: str, order_by: str, limit: int | None) -> None:
    """List a dataset's pictures, such as --filter 'flags:TOO_SMALL'."""
    session.show_list(
        session.client.datasets.images(dataset, filter=filter_, order_by=order_by),
        ("picture", "file", "pixels", "flags", "caption"),
        lambda image: (
            last_segment(image.name),
            image.source_name,
            f"{image.width}x{image.height}",
            words((*image.flags, *(("excluded",) if image.excluded else ()))).lower(),
            image.caption,
        ),
        limit=limit,
    )


@datasets.command()
@click.argument("image")
@click.argument("text", required=False)
@pass_session
def caption(session: Session, image: str, text: str | None) -> None:
    """Show a picture's caption, or write it (IMAGE is the full name brands/.../images/...)."""
    captions, pictures = session.client.captions, session.client.datasets
    picture = pictures.image(image) if text is None else captions.set(image, text)
    session.show(picture, _image_facts)


@datasets.command("edit-captions")
@click.argument("dataset")
@click.option("--trigger-word", help="Put before captions that do not have it, followed by a comma.")
@click.option("--prefix", help="Put before every caption as it is.")
@click.option("--suffix", help="Put after every caption as it is.")
@click.option("--find", help="Text to replace.")
@click.option("--replace", "replacement", default="", help="What --find becomes.")
@click.option("--ignore-case", is_flag=True)
@click.option("--whole-words", is_flag=True)
@click.option("--filter", "filter_", default="", help="Pictures to edit; all by default.")
@pass_session
def edit_captions(
    session: Session,
    dataset: str,
    trigger_word: str | None,
    prefix: str | None,
    suffix: str | None,
    find: str | None,
    replacement: str,
    ignore_case: bool,
    whole_words: bool,
    filter_: str,
) -> None:
    """One edit on many captions: all or none."""
    captions = session.client.captions
    if [trigger_word, prefix, suffix, find].count(None) != 3:
        raise click.UsageError("choose one of --trigger-word, --prefix, --suffix and --find")
    if trigger_word is not None:
        edit = captions.add_trigger_word(dataset, trigger_word, filter=filter_)
    elif prefix is not None:
        edit = captions.add_prefix(dataset, prefix, filter=filter_)
    elif suffix is not None:
        edit = captions.add_suffix(dataset, suffix, filter=filter_)
    else:
        edit = captions.replace(
            dataset,
            find or "",
            replacement,
            ignore_case=ignore_case,
            whole_words=whole_words,
            filter=filter_,
        )
    session.show(edit, lambda done: f"{done.changed_count} of {done.matched_count} captions changed")


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
@click.option("--note", default="")
@click.option("--allow-empty-captions", is_flag=True)
@pass_session
def seal(
    session: Session, dataset: str, trigger_words: tuple[str, ...], note: str, allow_empty_captions: bool
) -> None:
    """Fix the dataset's state as a new immutable revision."""
    revision = session.client.datasets.seal(
        dataset, trigger_words=trigger_words, note=note, allow_empty_captions=allow_empty_captions
    )
    session.show(revision, _revision_facts)


@datasets.command()
@click.argument("dataset")
@pass_session
def revisions(session: Session, dataset: str) -> None:
    """List a dataset's sealed revisions."""
    session.show_list(
        session.client.datasets.revisions(dataset),
        ("revision", "pictures", "trigger words", "sha256", "sealed", "note"),
        lambda item: (
            item.name,
            item.image_count,
            words(item.trigger_words),
            item.manifest.sha256[:12],
            moment(item.create_time),
            item.note,
        ),
    )


@datasets.command("import")
@click.argument("dataset")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--ignore-unknown", is_flag=True, help="Pass over rows that name no picture.")
@pass_session
def import_captions(session: Session, dataset: str, path: Path, ignore_unknown: bool) -> None:
    """Apply captions from metadata.csv, metadata.jsonl or a .zip of .txt files: all rows or none."""
    with transfer(session, f"importing {path.name}") as report:
        done = session.client.captions.import_file(
            dataset, path, ignore_unknown=ignore_unknown, on_progress=report
        )
    session.show(
        done, lambda result: f"{result.changed_count} captions changed, {result.unknown_count} rows unknown"
    )


@datasets.command()
@click.argument("dataset")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_", type=click.Choice([item.lower() for item in CaptionFormat]), default="csv"
)
@click.option("--images", "include_images", is_flag=True, help="A .zip with the pictures too.")
@pass_session
def export(session: Session, dataset: str, destination: Path, format_: str, include_images: bool) -> None:
    """Write captions of a dataset or revision (BRAND/DATASET@3) to a file or into a folder."""
    with transfer(session, f"exporting {dataset}") as report:
        path = session.client.datasets.export(
            dataset,
            destination,
            format=CaptionFormat(format_.upper()),
            include_images=include_images,
            on_progress=report,
        )
    session.show({"path": path}, lambda result: str(result["path"]))


def _why(failure: Any) -> str:
    return failure.message if failure else ""


def _facts(dataset: Dataset) -> Any:
    return facts(
        [
            ("name", dataset.name),
            ("display name", dataset.display_name),
            ("description", dataset.description),
            ("pictures", str(dataset.image_count)),
            ("captioned", str(dataset.captioned_count)),
            ("flagged", str(dataset.flagged_count)),
            ("revision", dataset.latest_revision or "none sealed yet"),
            ("updated", moment(dataset.update_time)),
        ]
    )


def _image_facts(image: Image) -> Any:
    return facts(
        [
            ("name", image.name),
            ("file", image.source_name),
            ("caption", image.caption or "none"),
            ("written by", image.caption_source.lower() if image.caption else ""),
            ("pixels", f"{image.width}x{image.height}"),
            ("tags", words(image.tags)),
            ("flags", words(image.flags).lower()),
            ("split", image.split),
            ("duplicate of", image.duplicate_of),
        ]
    )


def _revision_facts(revision: DatasetRevision) -> Any:
    return facts(
        [
            ("name", revision.name),
            ("pictures", str(revision.image_count)),
            ("trigger words", words(revision.trigger_words)),
            ("sha256", revision.manifest.sha256),
            ("note", revision.note),
        ]
    )
