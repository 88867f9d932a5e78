"""Files on their way up and down."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import brandloom
from brandloom import errors
from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.labeler.v1 import labeler_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2_grpc
from brandloom.types.common import TransferProgress
from servicekit import errors as service_errors
from tests.fakes.api_servers import FakeLabeler, FakeRegistry, serving

ADD_REGISTRY = registry_pb2_grpc.add_RegistryServiceServicer_to_server
ADD_LABELER = labeler_pb2_grpc.add_LabelerServiceServicer_to_server
CONTENT = bytes(range(256)) * 40


def registry_with(content: bytes, announced: bytes = CONTENT, **fields: str) -> FakeRegistry:
    artifact = artifact_pb2.Artifact(sha256=hashlib.sha256(announced).hexdigest(), size_bytes=len(announced))
    return FakeRegistry(file=content, announced=artifact, **fields)  # type: ignore[arg-type]


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def download(registry: FakeRegistry, destination: Path) -> Path:
    async with (
        serving(ADD_REGISTRY, registry) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        return await client.versions.download("acme/hero@1", destination)


async def test_a_download_into_a_folder_takes_the_files_own_name(tmp_path: Path) -> None:
    path = await download(registry_with(CONTENT), tmp_path)
    assert path == tmp_path / "hero.safetensors"
    assert path.read_bytes() == CONTENT


async def test_a_download_to_a_path_makes_its_folder(tmp_path: Path) -> None:
    path = await download(registry_with(CONTENT), tmp_path / "new" / "mine.safetensors")
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x", b""])
async def test_bytes_that_are_not_the_announced_ones_are_not_kept(tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "hero.safetensors"
    target.write_bytes(b"what was there")
    with pytest.raises(errors.CorruptDownload, match="announced were"):
        await download(registry_with(content), target)
    assert target.read_bytes() == b"what was there"
    assert files_in(tmp_path) == [target]


async def test_a_download_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    registry = registry_with(CONTENT)
    registry.faults = [service_errors.DataLoss("the file is damaged")]
    with pytest.raises(errors.DataLoss):
        await download(registry, tmp_path)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["../../evil", "..\\evil", "/etc/evil"])
async def test_a_hostile_file_name_stays_in_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    assert await download(registry_with(CONTENT, file_name=name), folder) == folder / "evil"


async def test_a_folder_and_no_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="name the file"):
        await download(registry_with(CONTENT, file_name=".."), tmp_path)


async def test_a_version_is_uploaded_in_chunks_with_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "hero.safetensors"
    path.write_bytes(CONTENT * 200)
    registry, seen = FakeRegistry(), list[TransferProgress]()
    async with (
        serving(ADD_REGISTRY, registry) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        version = await client.versions.upload("acme/hero", path, on_progress=seen.append)
    assert registry.file == CONTENT * 200
    assert version.artifact.sha256 == hashlib.sha256(CONTENT * 200).hexdigest()
    assert [progress.done_files for progress in seen] == [0] * (len(seen) - 1) + [1]
    assert len(seen) > 2


async def test_a_version_whose_stream_breaks_is_sent_again_under_the_same_request_id(tmp_path: Path) -> None:
    path = tmp_path / "hero.safetensors"
    path.write_bytes(CONTENT * 200)
    registry = FakeRegistry(faults=[service_errors.Unavailable("restarting")])
    async with (
        serving(ADD_REGISTRY, registry) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        await client.versions.upload("acme/hero", path)
    assert registry.file == CONTENT * 200
    first, again = registry.request_ids
    assert first == again != ""


def a_folder(root: Path) -> Path:
    (root / "inner").mkdir(parents=True)
    (root / "b.PNG").write_bytes(b"b" * 700_000)
    (root / "a.jpg").write_bytes(b"a")
    (root / "a.txt").write_text("a  cat\n", encoding="utf-8")
    (root / "inner" / "c.webp").write_bytes(b"")
    (root / "notes.md").write_text("no picture")
    (root / ".hidden.png").write_bytes(b"hidden")
    (root / "more.zip").write_bytes(b"zip")
    return root


async def upload(labeler: FakeLabeler, *paths: Path, sidecars: bool = False) -> brandloom.UploadReport:
    async with (
        serving(ADD_LABELER, labeler) as address,
        brandloom.connect_async(labeler=address, token="t") as client,
    ):
        return await client.datasets.upload("acme/heroes", *paths, sidecars=sidecars)


async def test_a_folder_is_uploaded_whole(tmp_path: Path) -> None:
    labeler = FakeLabeler()
    report = await upload(labeler, a_folder(tmp_path / "in"))
    assert report.added_count == 4
    assert {name: len(data) for name, data in labeler.files.items()} == {
        "a.jpg": 1,
        "b.PNG": 700_000,
        "inner/c.webp": 0,
        "more.zip": 3,
    }
    assert set(labeler.captions.values()) == {""}


async def test_sidecars_are_captions(tmp_path: Path) -> None:
    labeler = FakeLabeler()
    await upload(labeler, a_folder(tmp_path / "in"), sidecars=True)
    assert labeler.captions["a.jpg"] == "a cat"


async def test_many_pictures_go_in_several_streams(tmp_path: Path) -> None:
    for number in range(450):
        (tmp_path / f"{number:03}.png").write_bytes(b"x")
    labeler = FakeLabeler()
    report = await upload(labeler, tmp_path)
    assert (report.added_count, len(report.results), labeler.streams) == (450, 450, 3)


async def test_a_stream_that_breaks_is_sent_again(tmp_path: Path) -> None:
    labeler = FakeLabeler(faults=[service_errors.Unavailable("restarting")])
    report = await upload(labeler, a_folder(tmp_path / "in"))
    assert report.added_count == 4
    assert labeler.streams == 2


async def test_a_refusal_in_the_middle_of_a_stream_is_told_as_it_is(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "in")
    for _ in range(20):  # the answer and what is written meanwhile pass each other in every way
        labeler = FakeLabeler(faults=[service_errors.NotFound.of("Dataset", "brands/acme/datasets/heroes")])
        with pytest.raises(errors.NotFound, match="heroes"):
            await upload(labeler, folder)


async def test_nothing_to_upload_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="no pictures"):
        await upload(FakeLabeler(), tmp_path)
    with pytest.raises(errors.ConfigurationError, match="does not exist"):
        await upload(FakeLabeler(), tmp_path / "nowhere.png")


async def test_captions_of_an_unknown_kind_are_refused_here(tmp_path: Path) -> None:
    path = tmp_path / "captions.xlsx"
    path.write_bytes(b"x")
    async with brandloom.connect_async(labeler="127.0.0.1:1", token="t") as client:
        with pytest.raises(errors.ConfigurationError, match="xlsx"):
            await client.captions.import_file("acme/heroes", path)


async def test_a_file_of_texts_is_sent_in_chunks_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "voice.jsonl"
    path.write_bytes(CONTENT * 80)
    labeler, told = FakeLabeler(), list[TransferProgress]()
    async with (
        serving(ADD_LABELER, labeler) as address,
        brandloom.connect_async(labeler=address, token="t") as client,
    ):
        done = await client.texts.upload("acme/voice", path, split="validation", on_progress=told.append)
        with pytest.raises(errors.ConfigurationError, match="does not exist"):
            await client.texts.upload("acme/voice", tmp_path / "none.jsonl")
    assert labeler.files == {"brands/acme/datasets/voice/voice.jsonl": CONTENT * 80}
    assert labeler.captions == {"voice.jsonl": "validation"}
    assert (done.added_count, done.unchanged_count) == (3, 1)
    assert [one.done_bytes for one in told] == [524288, len(CONTENT) * 80]
