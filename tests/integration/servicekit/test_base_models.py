"""Base models from paths, and from the hub and its cache."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lorakit.base_digest import base_digest
from servicekit.artifacts.open import StoreSettings
from servicekit.base_models.settings import read_base_model_settings
from servicekit.errors import Unavailable
from servicekit.settings import ConfigError, Settings
from tests.fakes.hub import COMMIT, FakeHub, served_hub
from tests.integration.servicekit.base_models import PIPELINE, UNREAD, opened, refused, write

HUB_ID = "acme/small-sd"


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return base_digest(write(tmp_path / "known", PIPELINE))


async def test_paths_are_what_they_are(tmp_path: Path, digest: str) -> None:
    files, folder = opened(tmp_path), tmp_path / "known"
    assert await files.locate(str(folder), digest) == folder
    assert await files.locate(folder.as_uri(), digest) == folder


@pytest.mark.parametrize("source", ["/nothing/here", "nothing", "a/b/c", "https://x/y", "a/b@../../c"])
async def test_what_is_no_source_is_said_to_be_none(source: str, tmp_path: Path) -> None:
    error = await refused(opened(tmp_path), source, "a" * 64)
    assert error.reason == "BASE_MODEL_UNUSABLE"
    assert source in error.message
    assert "no file or folder on this host, and neither a hub id nor" in error.message


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with served_hub(
        {HUB_ID: PIPELINE | UNREAD, "acme/pickles": {"model_index.json": b"{}", "x.bin": b""}}
    ) as hub:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield hub


def fill_cache(cache: Path, files: Mapping[str, bytes]) -> Path:
    """What the hub's client keeps: a commit's files, and which commit `main` is."""
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    write(repository, {"refs/main": COMMIT.encode()})
    return write(repository / "snapshots" / COMMIT, files)


async def test_the_hubs_cache_needs_no_network(tmp_path: Path, hub_cache: Path, digest: str) -> None:
    snapshot = fill_cache(hub_cache, PIPELINE | UNREAD)
    assert await opened(tmp_path).locate(HUB_ID, digest) == snapshot
    assert await opened(tmp_path).locate(f"{HUB_ID}@{COMMIT}", digest) == snapshot


async def test_offline_a_model_that_is_not_cached_is_refused(
    tmp_path: Path, hub_cache: Path, digest: str
) -> None:
    error = await refused(opened(tmp_path), HUB_ID, digest)
    assert error.reason == "BASE_MODEL_UNUSABLE"
    assert f"{HUB_ID} is not in the hub's cache on this host, and HF_HUB_OFFLINE" in error.message
    partial = fill_cache(hub_cache, {name: data for name, data in PIPELINE.items() if "unet" not in name})
    error = await refused(opened(tmp_path), HUB_ID, digest)
    assert error.reason == "BASE_MODEL_CHANGED"
    assert base_digest(partial) in error.message
    assert digest in error.message


async def test_only_what_is_read_is_downloaded(tmp_path: Path, hub: FakeHub, digest: str) -> None:
    files = opened(tmp_path)
    first, second = await asyncio.gather(files.locate(HUB_ID, digest), files.locate(HUB_ID, digest))
    assert first == second
    assert base_digest(first) == digest
    assert sorted(hub.downloaded) == sorted(PIPELINE)
    hub.status = 503
    assert await opened(tmp_path).locate(HUB_ID, digest) == first


async def test_a_partial_cache_is_completed(
    tmp_path: Path, hub_cache: Path, hub: FakeHub, digest: str
) -> None:
    fill_cache(hub_cache, {name: PIPELINE[name] for name in ("model_index.json", "unet/config.json")})
    found = await opened(tmp_path).locate(HUB_ID, digest)
    assert base_digest(found) == digest


async def test_the_hub_may_have_another_model_by_now(tmp_path: Path, hub: FakeHub, digest: str) -> None:
    error = await refused(opened(tmp_path), HUB_ID, "0" * 64)
    assert error.reason == "BASE_MODEL_CHANGED"
    assert f"{HUB_ID} has the digest {digest}, not {'0' * 64}" in error.message


@pytest.mark.parametrize(
    ("source", "budget", "message"),
    [
        ("acme/unknown", 1 << 20, "no such repository or revision"),
        ("acme/pickles", 1 << 20, "is no pipeline of safetensors files"),
        (HUB_ID, 100, "takes 7012 bytes, 100 are allowed"),
    ],
)
async def test_what_the_hub_cannot_give_is_said(
    tmp_path: Path, hub: FakeHub, source: str, budget: int, message: str
) -> None:
    error = await refused(opened(tmp_path, budget_bytes=budget), source, "a" * 64)
    assert error.reason == "BASE_MODEL_UNUSABLE"
    assert message in error.message
    assert hub.downloaded == []


async def test_a_hub_that_is_away_may_come_back(tmp_path: Path, hub: FakeHub, digest: str) -> None:
    files = opened(tmp_path)
    hub.status = 502
    with pytest.raises(Unavailable) as raised:
        await files.locate(HUB_ID, digest)
    assert raised.value.reason == "BASE_MODEL_UNAVAILABLE"
    hub.status = 200
    assert base_digest(await files.locate(HUB_ID, digest)) == digest


async def test_a_checkpoint_brings_the_tokenizer_along(tmp_path: Path, hub: FakeHub) -> None:
    clip = {
        "vocab.json": b"{}",
        "merges.txt": b"a b",
        "pytorch_model.bin": b"a pickle",
        "model.safetensors": b"w",
    }
    hub.repositories = {"acme/clip": clip}
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"x")
    assert await opened(tmp_path, tokenizer=str(tmp_path)).locate(str(file), "a" * 64) == file
    assert hub.downloaded == []
    assert await opened(tmp_path).locate(str(file), "a" * 64) == file
    assert sorted(hub.downloaded) == ["merges.txt", "vocab.json"]
    hub.repositories = {}
    assert await opened(tmp_path).locate(str(file), "a" * 64) == file


def test_settings_name_paths_that_exist(tmp_path: Path) -> None:
    store = StoreSettings(url="file:///nowhere")
    reader = Settings({"BRANDLOOM_CLIP_TOKENIZER": str(tmp_path), "BRANDLOOM_BASE_MODEL_CACHE_GIB": "2"})
    settings = read_base_model_settings(reader, tmp_path, store)
    assert (settings.tokenizer, settings.configs, settings.budget_bytes) == (str(tmp_path), "", 2 << 30)
    assert settings.cache == tmp_path / "cache" / "base-models"
    reader = Settings({"BRANDLOOM_CLIP_TOKENIZER": "/nothing", "BRANDLOOM_SINGLE_FILE_CONFIGS": "/nothing"})
    read_base_model_settings(reader, tmp_path, store)
    with pytest.raises(ConfigError) as raised:
        reader.check()
    assert len(raised.value.faults) == 2
