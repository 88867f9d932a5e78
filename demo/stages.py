"""The demo on the screen: each stage of the story with its progress, and the files that it leaves."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image
from rich.console import Console

import brandloom
from brandloom import AsyncClient, BaseModel, GeneratedImage, JobState, LoraVersion, TrainingJob
from brandloom.cli.job_board import JobBoard, show_jobs
from brandloom.cli.plain import size, words
from brandloom.cli.session import table
from brandloom.cli.versions import lineage_tree
from brandloom.errors import JobFailed
from demo import story, teaching
from demo.bars import counting
from demo.brands import BRANDS
from demo.brands.voices import VOICES
from demo.loss_plot import draw_losses
from demo.plan import (
    COLOURS,
    GENERATION_STEPS,
    GUIDANCE_SCALE,
    MIXES,
    QUESTIONS,
    SCENES,
    TRAINING,
    VOICE_TRAINING,
)
from demo.sheet import Column, Examples, draw_sheet

_EXAMPLE_COUNT: Final = 6

Part = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """Where the demo reads and writes, and how much it does."""

    output: Path
    pictures: Mapping[str, Path]
    """Folder of raw training pictures of each brand."""
    base_model: BaseModel
    language_model: BaseModel
    max_steps: int | None = None
    generation_steps: int | None = None


class Stages:
    """Plays the stages in order."""

    def __init__(self, console: Console, demo: Demo) -> None:
        self._console = console
        self._demo = demo

    async def play(self, connection: Mapping[str, Any], part: Part) -> None:
        """Labels, trains, registers, generates, teaches voices, and says where the results are."""
        files: list[tuple[str, Path]] = []
        async with brandloom.connect_async(**connection) as client:
            with part("Labeling three brands' pictures"):
                labeled = await self.label(client)
            with part("Training three LoRAs at once"):
                jobs = await self.train(client, labeled)
            with part("What the registry holds"):
                versions = await self.register(client, jobs)
            with part("Generating with none, each, and stacks of them"):
                sheet = await self.generate(client)
            with part("Teaching a language model three brands' voices"):
                files_of_voices = await self.teach(client)
            files.append(("contact sheet", sheet))
            files.append(("loss plot", await self.plot(client, jobs)))
            files += [("LoRA", path) for path in await self.download(client, versions)]
            files += [("captions", item.metadata_csv) for item in labeled.values()]
            files += [("voice", path) for path in files_of_voices]
        self._console.print()
        self._console.print(table(("made", "path"), files))

    async def label(self, client: AsyncClient) -> dict[str, story.Labeled]:
        """All brands side by side, with a bar each."""
        folder = self._demo.output / "captions"
        with counting(self._console, BRANDS) as count:
            labeled = await asyncio.gather(
                *(
                    story.label_brand(client, brand, self._demo.pictures[name], folder, count)
                    for name, brand in BRANDS.items()
                )
            )
        rows = []
        for name, item in zip(BRANDS, labeled, strict=True):
            sealed = f"revision {item.revision.revision}, {item.revision.manifest.sha256[:12]}"
            rows.append((name, item.upload.added_count, item.before, item.corrected.caption, sealed))
        columns = ("brand", "pictures", "a caption", "corrected by a reviewer", "sealed")
        self._console.print(table(columns, rows))
        return dict(zip(BRANDS, labeled, strict=True))

    async def train(self, client: AsyncClient, labeled: Mapping[str, story.Labeled]) -> list[TrainingJob]:
        """Three jobs in one queue, watched together; JobFailed when one fails."""
        options = {name: dict(TRAINING[name]) for name in BRANDS}
        if self._demo.max_steps:
            for chosen in options.values():
                chosen["max_steps"] = self._demo.max_steps
        jobs = await story.submit(
            client,
            list(BRANDS.values()),
            {name: item.revision for name, item in labeled.items()},
            self._demo.base_model,
            options,  # type: ignore[arg-type]
        )
        return await self._followed(client, jobs)

    async def register(self, client: AsyncClient, jobs: Sequence[TrainingJob]) -> list[LoraVersion]:
        """The listing, with where each version comes from."""
        versions = await story.put_into_use(client, jobs)
        rows = [
            (
                version.name,
                words(version.aliases),
                version.rank,
                len(version.modules),
                size(version.artifact.size_bytes),
                version.artifact.sha256[:16],
                words(version.trigger_words),
            )
            for version in versions
        ]
        columns = ("version", "alias", "rank", "modules", "size", "sha256", "trigger")
        self._console.print(table(columns, rows))
        self._console.print()
        for version in versions:
            self._console.print(lineage_tree(version.name, await client.versions.lineage(version)))
        return versions

    async def generate(self, client: AsyncClient) -> Path:
        """One picture for each stack and scene, and all of them on one sheet."""
        steps = self._demo.generation_steps or GENERATION_STEPS
        name = f"steps, {len(MIXES) * len(SCENES)} pictures"
        with counting(self._console, [name]) as count:
            pictures = await story.generate_grid(
                client,
                BRANDS,
                MIXES,
                SCENES,
                self._demo.base_model,
                lambda done, total: count(name, done, total),
                steps=steps,
                guidance_scale=GUIDANCE_SCALE,
            )
        folder = self._demo.output / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        for (column, row), picture in pictures.items():
            title = MIXES[column].title.replace(" ", "")
            picture.save(folder / f"{row + 1}-{title}.png")
        path = self._demo.output / "contact-sheet.png"
        self._sheet(pictures, steps).save(path, optimize=True)
        return path

    async def teach(self, client: AsyncClient) -> list[Path]:
        """Three voices in one pack, and what is answered before and after; gives the answers' folders."""
        output, model = self._demo.output / "voices", self._demo.language_model
        revisions = {voice: await teaching.seal_texts(client, voice, output / "texts") for voice in VOICES}
        options = VOICE_TRAINING
        if self._demo.max_steps:
            options = {**options, "max_steps": self._demo.max_steps}
        jobs = await teaching.submit_voices(client, revisions, model, QUESTIONS, options)
        ended = await self._followed(client, jobs)
        before = await asyncio.to_thread(teaching.base_answers, Path(model.source), QUESTIONS)
        folders = [output / voice.brand for voice in VOICES]
        after = [
            await teaching.answers(client, job, folder) for job, folder in zip(ended, folders, strict=True)
        ]
        speakers = ["the base model", *(f"{voice.brand}/{voice.lora}" for voice in VOICES)]
        rows = [
            (question if number == 0 else "", speaker, said[question])
            for question in QUESTIONS
            for number, (speaker, said) in enumerate(zip(speakers, [before, *after], strict=True))
        ]
        self._console.print(table(("asked", "of", "answer"), rows))
        return folders

    async def _followed(self, client: AsyncClient, jobs: Sequence[TrainingJob]) -> list[TrainingJob]:
        """The jobs at their end, watched on the screen; JobFailed when one has not succeeded."""
        advice = {item.message for job in jobs for item in job.advice}
        for message in sorted(advice):
            self._console.print(f"  advice: {message}", markup=False)
        board = JobBoard()
        await show_jobs(client, _each(jobs), board, self._console, live=self._console.is_terminal)
        for job in jobs:
            if board.jobs[job.name].state is not JobState.SUCCEEDED:
                raise JobFailed(board.jobs[job.name])
        return [await client.training.get(job) for job in jobs]

    async def plot(self, client: AsyncClient, jobs: Sequence[TrainingJob]) -> Path:
        """The three losses on one plot."""
        colours = {brand.lora: COLOURS[name] for name, brand in BRANDS.items()}
        curves = await story.losses(client, jobs)
        title = "Three LoRAs trained in the same passes"
        return draw_losses(self._demo.output / "loss.png", curves, colours, title)

    async def download(self, client: AsyncClient, versions: Sequence[LoraVersion]) -> list[Path]:
        """The files, for any tool that loads kohya's format."""
        folder = self._demo.output / "loras"
        folder.mkdir(parents=True, exist_ok=True)
        names = [version.name.split("/")[3] for version in versions]
        return [
            await client.versions.download(version, folder / f"{name}.safetensors")
            for name, version in zip(names, versions, strict=True)
        ]

    def _sheet(self, pictures: Mapping[tuple[int, int], GeneratedImage], steps: int) -> Image.Image:
        examples = [
            Examples(
                title=brand.lora,
                subtitle=f"{name}, a {brand.kind}",
                colour=COLOURS[name],
                pictures=_opened(sorted(self._demo.pictures[name].glob("*.png"))[:_EXAMPLE_COUNT]),
            )
            for name, brand in BRANDS.items()
        ]
        columns = [
            Column(
                title=mix.title,
                subtitle=_spelled(mix),
                colours=[COLOURS[name] for name in mix.weights],
                pictures=[Image.open(io.BytesIO(pictures[number, row].png)) for row in range(len(SCENES))],
            )
            for number, mix in enumerate(MIXES)
        ]
        subtitle = (
            "One frozen base model. Left: pictures that each brand brought."
            f" Right: the same prompts and seeds, with and without what was learned ({steps} steps)."
        )
        prompts = [f"{scene.prompt} (seed {scene.seed})" for scene in SCENES]
        return draw_sheet("Three brand LoRAs, alone and stacked", subtitle, examples, prompts, columns)


async def _each(jobs: Sequence[TrainingJob]) -> AsyncIterator[TrainingJob]:
    for job in jobs:
        yield job


def _spelled(mix: story.Mix) -> str:
    if not mix.weights:
        return "the base model"
    tags = " ".join(f"<lora:{BRANDS[name].lora}:{weight:g}>" for name, weight in mix.weights.items())
    return f"{tags} {', '.join(BRANDS[name].trigger for name in mix.weights)}, ..."


def _opened(paths: Sequence[Path]) -> list[Image.Image]:
    return [Image.open(path) for path in paths]
