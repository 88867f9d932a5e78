"""The demo's whole story, with small models and few steps, on four real services."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

import brandloom
from demo.base_models import register_language_model
from demo.brands.sets import BRANDS, brand_picture
from demo.brands.voices import VOICES
from demo.plan import MIXES, QUESTIONS, SCENES
from demo.stages import Demo, Stages
from lorakit.safetensors_header import read_header
from tests.e2e.conftest import World

pytestmark = pytest.mark.timeout(600)


def write_pictures(folder: Path, count: int) -> dict[str, Path]:
    for name, brand in BRANDS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            brand_picture(brand, "train", index).resize((64, 64)).save(folder / name / f"{index}.png")
    return {name: folder / name for name in BRANDS}


@pytest.fixture(scope="module")
def language_model(world: World) -> brandloom.BaseModel:
    with world.suite.connect() as client:
        return register_language_model(client)


@pytest.fixture(scope="module")
def base_model(world: World) -> brandloom.BaseModel:
    with world.suite.connect() as client:
        # `brandloom train` of another test may have registered it already.
        known = {base.name: base for base in client.base_models.list()}
        return known.get("baseModels/tiny-sd") or client.base_models.create(
            "tiny-sd",
            family=brandloom.ModelFamily.SD15,
            source=str(world.base),
            sha256=brandloom.base_model_digest(world.base),
            resolution=16,
        )


async def test_from_pictures_to_a_sheet_of_stacks(
    world: World, base_model: brandloom.BaseModel, language_model: brandloom.BaseModel, tmp_path: Path
) -> None:
    console = Console(file=io.StringIO(), width=200)
    demo = Demo(
        output=tmp_path / "output",
        pictures=write_pictures(tmp_path / "pictures", 6),
        base_model=base_model,
        language_model=language_model,
        max_steps=3,
        generation_steps=2,
    )

    parts: list[str] = []

    @contextmanager
    def part(title: str) -> Iterator[None]:
        parts.append(title)
        yield

    await Stages(console, demo).play(world.suite.connection(), part)

    assert len(parts) == 5
    with Image.open(demo.output / "contact-sheet.png") as sheet, Image.open(demo.output / "loss.png") as plot:
        assert sheet.width > 1000
        assert plot.width > 500
    pictures = list((demo.output / "pictures").glob("*.png"))
    assert len(pictures) == len(MIXES) * len(SCENES)
    assert len({path.read_bytes() for path in pictures}) == len(pictures)
    for brand in BRANDS.values():
        header = read_header(demo.output / "loras" / f"{brand.lora}.safetensors")
        assert header.metadata["ss_base_model_version"]
        captions = (demo.output / "captions" / f"{brand.lora}-metadata.csv").read_text().splitlines()
        assert captions[0] == "file_name,text"
        assert len(captions) == 7
        assert all(brand.trigger in line for line in captions[1:])
        assert brand.description.lower() in captions[1]
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("versions/1", "prod", "trained on", "made by", "contact-sheet.png"):
        assert words in shown

    async with brandloom.connect_async(**world.suite.connection()) as client:
        for name, brand in BRANDS.items():
            version = await client.versions.get(f"{name}/{brand.lora}@prod")
            revision = await client.datasets.revision(version.origin.dataset_revision)
            assert version.origin.dataset_sha256 == revision.manifest.sha256
            assert version.base_model_sha256 == base_model.sha256
            job = await client.training.get(version.origin.training_job)
            assert (job.lora_version, job.state) == (version.name, brandloom.JobState.SUCCEEDED)
            events = [event async for event in client.training.watch(job)]
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert len(await client.training.metrics(job)) == 3
        for voice in VOICES:
            version = await client.versions.get(f"{voice.brand}/{voice.lora}")
            assert version.base_model_sha256 == language_model.sha256
            revision = await client.datasets.revision(version.origin.dataset_revision)
            assert revision.text_count == 64
            assert sum(1 for _ in (demo.output / "voices" / voice.brand).glob("*.txt")) == len(QUESTIONS)
            assert f"{voice.brand}/voice" in shown
        assert all(question in shown for question in QUESTIONS)
        resolved = await client.stacks.resolve("hoot-robotics", ["hootbot", "lumen-signs/neon@prod"])
        assert [lora.reference for lora in resolved.loras] == ["hootbot", "lumen-signs/neon@prod"]


async def test_a_tag_in_the_prompt_is_the_same_as_an_explicit_stack(
    world: World, base_model: brandloom.BaseModel
) -> None:
    async with brandloom.connect_async(**world.suite.connection()) as client:

        async def one(prompt: str, *stack: brandloom.StackEntry) -> bytes:
            made = await client.images.generate(
                "hoot-robotics", prompt, stack=stack, seed=5, steps=2, base_model=base_model
            )
            return made[0].png

        with_tag = await one("<lora:hootbot:0.7> a cat")
        with_entry = await one("a cat", brandloom.StackEntry("hootbot", 0.7))
        without = await one("a cat")
    pixels = [Image.open(io.BytesIO(png)).convert("RGB").tobytes() for png in (with_tag, with_entry, without)]
    assert pixels[0] == pixels[1] != pixels[2]


async def test_a_stack_that_names_an_unknown_lora_is_refused(
    world: World, base_model: brandloom.BaseModel
) -> None:
    async with brandloom.connect_async(**world.suite.connection()) as client:
        with pytest.raises(brandloom.errors.ApiError) as caught:
            await client.images.generate("hoot-robotics", "<lora:nobody:1> a cat", base_model=base_model)
    assert "nobody" in str(caught.value)
