"""`brandloom train`: from a folder of pictures to a LoRA file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import click

import brandloom
from brandloom import (
    DatasetRevision,
    JobArtifactKind,
    JobFailed,
    JobState,
    TrainingJob,
    TrainingSpec,
)
from brandloom._names import short
from brandloom.cli.base_model_source import find_or_register
from brandloom.cli.framework import Command
from brandloom.cli.held_out import hold_out
from brandloom.cli.job_board import JobBoard, show_jobs
from brandloom.cli.labels import follow_label_job
from brandloom.cli.progress import transfer
from brandloom.cli.session import Session, pass_session
from brandloom.cli.train_config import KEYS, TrainConfig, read_config
from brandloom.errors import ConfigurationError, NotFound

_WANTED_FILES: Final = (JobArtifactKind.LOSS_PLOT, JobArtifactKind.SAMPLE, JobArtifactKind.PREVIEW_SHEET)
_EPILOG: Final = "Keys: " + ", ".join(KEYS) + ". Only train_data_dir and base_model are required."


@click.command(cls=Command, epilog=_EPILOG)
@click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The YAML file; its paths count from the current folder.",
)
@pass_session
def train(session: Session, config_path: Path) -> None:
    """Train a LoRA as a YAML file says.

    It uploads, captions, seals, trains and downloads.

    Captions come from metadata_path (.csv, .jsonl, .zip of .txt), else from <picture>.txt beside pictures;
    the captioner writes those that are missing. base_model is the name of a registered model, a folder, a
    .safetensors checkpoint, or a hub id that is in the local cache. The LoRA file, the loss plot, the
    samples and their sheet land in output_dir.

    Running it again goes on from what is there: pictures are not stored twice, the LoRA gets a new version.
    """
    config = read_config(config_path)
    base_model = find_or_register(session.client, config.base_model)
    revision = _sealed_dataset(session, config)
    spec = TrainingSpec.build(
        f"{_brand_id(config)}/{_id(config.name)}", revision, base_model=base_model, **config.options
    )
    job = session.client.training.create(spec, display_name=config.name)
    for advice in job.advice:
        session.note(f"advice: {advice.field}: {advice.message}")
    session.note(f"training {short(job.spec.lora)} as {short(job.name)}")
    job = _followed(session, job)
    if job.state is not JobState.SUCCEEDED:
        raise JobFailed(job)
    files = _downloaded(session, job, config)
    session.show(
        {"job": job.name, "lora_version": job.lora_version, "files": files},
        lambda result: "\n".join([f"{job.lora_version} is ready", *(f"  {path}" for path in files)]),
    )


def _sealed_dataset(session: Session, config: TrainConfig) -> DatasetRevision:
    client = session.client
    brand_id = _brand_id(config)
    _ensure_brand(session, brand_id)
    name = f"{brand_id}/{_id(config.name)}"
    try:
        dataset = client.datasets.get(name)
    except NotFound:
        dataset = client.datasets.create(brand_id, _id(config.name), display_name=config.name)
    with transfer(session, f"uploading {config.train_data_dir}") as report:
        result = client.datasets.upload(
            dataset, config.train_data_dir, sidecars=config.metadata_path is None, on_progress=report
        )
    for item in result.results:
        if item.failure:
            session.note(f"left out {item.source_name}: {item.failure.message}")
    if config.metadata_path:
        done = client.captions.import_file(dataset, config.metadata_path, ignore_unknown=True)
        session.note(
            f"{done.changed_count} captions from {config.metadata_path}, {done.unknown_count} unknown"
        )
    without = sum(not image.caption for image in client.datasets.images(dataset))
    if without:
        session.note(f"{without} pictures have no caption: captioning them")
        job = follow_label_job(session, client.labeling.create(dataset, trigger_word=config.trigger_word))
        if job.state is not JobState.SUCCEEDED:
            raise JobFailed(job)
    if config.trigger_word:
        client.captions.add_trigger_word(dataset, config.trigger_word)
    if config.validation_split > 0.0:
        count = hold_out(client, dataset, config.validation_split)
        session.note(f"pictures held out for validation: {count}")
    words = [config.trigger_word] if config.trigger_word else []
    revision = client.datasets.seal(dataset, trigger_words=words, note="brandloom train")
    session.note(f"sealed {short(revision.name)}: {revision.image_count} pictures")
    return revision


def _ensure_brand(session: Session, brand_id: str) -> None:
    try:
        session.client.brands.get(brand_id)
    except NotFound:
        session.client.brands.create(brand_id)


def _followed(session: Session, job: TrainingJob) -> TrainingJob:
    async def only_this() -> AsyncIterator[TrainingJob]:
        yield job

    async def follow() -> TrainingJob:
        async with brandloom.connect_async(**session.connection()) as client:
            board = JobBoard()
            await show_jobs(client, only_this(), board, session.notes, live=session.live, silent=session.json)
            return board.jobs[job.name]

    try:
        return asyncio.run(follow())
    except KeyboardInterrupt:
        name = short(job.name)
        session.note(f"the job goes on: `brandloom jobs watch {name}` or `brandloom jobs cancel {name}`")
        raise


def _downloaded(session: Session, job: TrainingJob, config: TrainConfig) -> list[Path]:
    client = session.client
    config.output_dir.mkdir(parents=True, exist_ok=True)
    target = config.output_dir / f"{_id(config.name)}.safetensors"
    with transfer(session, f"downloading {target.name}") as report:
        files = [client.versions.download(job.lora_version, target, on_progress=report)]
    for artifact in job.artifacts:
        if artifact.kind in _WANTED_FILES:
            files.append(client.training.download(job, artifact, config.output_dir))
    return files


def _brand_id(config: TrainConfig) -> str:
    return config.brand.removeprefix("brands/")


def _id(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not words:
        raise ConfigurationError(f"name: {name!r} holds no letters or digits to make an id of")
    return (words if words[0].isalpha() else f"lora-{words}")[:63].strip("-")
