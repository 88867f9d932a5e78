"""What the demo does, step by step, through the public SDK alone. How it looks is in demo.stages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brandloom import (
    AsyncClient,
    BaseModel,
    DatasetRevision,
    GeneratedImage,
    GenerationProgress,
    Image,
    LabelProgressEvent,
    LoraVersion,
    MetricPoint,
    StackEntry,
    TrainingJob,
    TrainingOptions,
    TrainingSpec,
    UploadReport,
)
from demo.brands import BrandSet

DATASET: Final = "launch-pictures"
_MIN_SIDE: Final = 64

OnCount = Callable[[str, int, int], None]
"""Told a brand, how many pictures are done, and of how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labeled:
    """A brand's pictures with their captions, sealed."""

    upload: UploadReport
    corrected: Image
    before: str
    revision: DatasetRevision
    metadata_csv: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One row of the sheet: the same words and the same seed for every stack."""

    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """One column of the sheet: brands whose LoRAs are stacked, each with its weight."""

    title: str
    weights: Mapping[str, float]


async def label_brand(
    client: AsyncClient, brand: BrandSet, pictures: Path, output: Path, on_count: OnCount
) -> Labeled:
    """Uploads, captions, adds the trigger word, corrects one caption, seals, exports metadata.csv."""
    await client.brands.create(brand.brand, display_name=brand.brand.replace("-", " ").title())
    dataset = await client.datasets.create(brand.brand, DATASET, description=brand.description)
    upload = await client.datasets.upload(dataset, pictures, min_side=_MIN_SIDE)
    job = await client.labeling.create(dataset)
    async for event in client.labeling.watch(job):
        if isinstance(event, LabelProgressEvent):
            on_count(brand.brand, event.progress.done, event.progress.total)
    await client.labeling.wait(job)
    await client.captions.add_trigger_word(dataset, brand.trigger)
    first = await anext(client.datasets.images(dataset, order_by="source_name"))
    corrected = await client.captions.set(
        first, f"{brand.trigger}, {brand.description.lower()}", etag=first.etag
    )
    revision = await client.datasets.seal(dataset, trigger_words=[brand.trigger], note="for the demo")
    metadata = await client.datasets.export(revision, output / f"{brand.lora}-metadata.csv")
    return Labeled(
        upload=upload,
        corrected=corrected,
        before=first.caption,
        revision=revision,
        metadata_csv=metadata,
    )


async def submit(
    client: AsyncClient,
    brands: Sequence[BrandSet],
    revisions: Mapping[str, DatasetRevision],
    base_model: BaseModel,
    options: Mapping[str, TrainingOptions],
) -> list[TrainingJob]:
    """Queues one job for each brand, all before any is waited for."""
    jobs = []
    for brand in brands:
        spec = TrainingSpec.build(
            f"{brand.brand}/{brand.lora}",
            revisions[brand.brand],
            base_model=base_model,
            **options[brand.brand],
        )
        jobs.append(await client.training.create(spec, display_name=f"{brand.lora}, a {brand.kind}"))
    return jobs


async def put_into_use(client: AsyncClient, jobs: Sequence[TrainingJob]) -> list[LoraVersion]:
    """Points `prod` at what each job has registered; gives the versions as the registry shows them then."""
    versions = []
    for job in jobs:
        version = await client.versions.get(job.lora_version)
        lora = job.spec.lora
        await client.loras.update(lora, display_name=job.display_name, tags=["demo"])
        await client.loras.set_alias(lora, "prod", version)
        versions.append(await client.versions.get(f"{lora}/versions/prod"))
    return versions


async def losses(client: AsyncClient, jobs: Sequence[TrainingJob]) -> dict[str, tuple[MetricPoint, ...]]:
    """Each job's loss curve by the last part of its LoRA's name."""
    return {job.spec.lora.rpartition("/")[2]: await client.training.metrics(job) for job in jobs}


async def generate_grid(
    client: AsyncClient,
    brands: Mapping[str, BrandSet],
    mixes: Sequence[Mix],
    scenes: Sequence[Scene],
    base_model: BaseModel,
    on_step: Callable[[int, int], None],
    *,
    steps: int,
    guidance_scale: float,
) -> dict[tuple[int, int], GeneratedImage]:
    """A picture for each (mix, scene), all asked for at once; the service batches them as it can."""
    done: dict[tuple[int, int], int] = {}
    total = len(mixes) * len(scenes) * steps

    async def cell(column: int, row: int) -> GeneratedImage:
        mix, scene = mixes[column], scenes[row]
        home = next(iter(mix.weights), next(iter(brands)))
        triggers = [brands[name].trigger for name in mix.weights]
        entries = [
            StackEntry(f"{name}/{brands[name].lora}@prod", weight) for name, weight in mix.weights.items()
        ]
        events = client.images.stream(
            home,
            ", ".join([*triggers, scene.prompt]),
            stack=entries,
            seed=scene.seed,
            base_model=base_model,
            steps=steps,
            guidance_scale=guidance_scale,
        )
        return await _last_picture(events, lambda step: _tell(column, row, step))

    def _tell(column: int, row: int, step: int) -> None:
        done[column, row] = step
        on_step(sum(done.values()), total)

    places = [(column, row) for row in range(len(scenes)) for column in range(len(mixes))]
    pictures = await asyncio.gather(*(cell(column, row) for column, row in places))
    return dict(zip(places, pictures, strict=True))


async def _last_picture(events: AsyncIterator[object], on_step: Callable[[int], None]) -> GeneratedImage:
    picture: GeneratedImage | None = None
    async for event in events:
        match event:
            case GenerationProgress():
                on_step(event.step)
            case GeneratedImage():
                picture = event
    if picture is None:
        raise RuntimeError("the stream ended without a picture")
    return picture
