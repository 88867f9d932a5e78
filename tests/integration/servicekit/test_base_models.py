"""From a source to files on this host: paths, the hub and its cache, S3."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lorakit.base_digest import base_digest, counts
from servicekit.artifacts.open import StoreSettings
from servicekit.base_models.files import BaseModelFiles
from servicekit.base_models.settings import BaseModelSettings, read_base_model_settings
from servicekit.errors import FailedPrecondition, Unavailable
from servicekit.settings import ConfigError, Settings
from tests.fakes.hub import COMMIT, FakeHub, served_hub
from tests.fixtures.s3 import S3Server
from tests.servers.cutting_proxy import CuttingProxy

PIPELINE = {
    "model_index.json": b"{}",
    "unet/config.json": b'{"": 1}',
    "unet/diffusion_pytorch_model.safetensors": b"weights" * 1000,
    "tokenizer/merges.txt": b"a b",
}
UNREAD = {
    "README.md": b"a card",
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
    "safety_checker/model.safetensors": b"checks",
    "v1-5-pruned.ckpt": b"a pickle",
    "unet/onnx/deep.json": b"{}",
}
HUB_ID = "acme/small-sd"


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return base_digest(write(tmp_path / "known", PIPELINE))


def opened(folder: Path, store: StoreSettings | None = None, **changes: Any) -> BaseModelFiles:
    settings = {
        "cache": folder / "cache",
        "budget_bytes": 1 << 20,
        "store": store or StoreSettings(url="file:///nowhere"),
        "configs": "",
        "tokenizer": "",
    }
    return BaseModelFiles(
        BaseModelSettings(**(settings | changes)),
        digest=base_digest,
        counts=counts,
        tokenizer_repository="acme/clip",
    )


async def refused(files: BaseModelFiles, source: str, digest: str) -> FailedPrecondition:
    with pytest.raises(FailedPrecondition) as raised:
        await files.locate(source, digest)
    return raised.value


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


# The hub


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


# S3


@pytest.fixture
def store(s3_server: S3Server) -> StoreSettings:
    return settings_of(s3_server, s3_server.endpoint)


def settings_of(server: S3Server, endpoint: str) -> StoreSettings:
    return StoreSettings(
        url="file:///nowhere",
        endpoint=endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        secure=server.secure,
    )


def put(server: S3Server, bucket: str, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        server.client().put_object(bucket, name, io.BytesIO(data), len(data))


async def test_a_prefix_is_a_pipeline_directory(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, store: StoreSettings, digest: str
) -> None:
    put(s3_server, s3_bucket, {f"bases/small/{name}": data for name, data in (PIPELINE | UNREAD).items()})
    put(s3_server, s3_bucket, {"bases/small-not/unet/config.json": b"another model"})
    files = opened(tmp_path, store)
    found, again = await asyncio.gather(
        *(files.locate(f"s3://{s3_bucket}/bases/small{end}", digest) for end in ("", "/"))
    )
    assert found == again == tmp_path / "cache" / digest
    assert base_digest(found) == digest
    fetched = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()}
    assert fetched == set(PIPELINE)
    away = opened(tmp_path, settings_of(s3_server, "127.0.0.1:9"))
    assert await away.locate(f"s3://{s3_bucket}/bases/small", digest) == found


async def test_a_key_is_a_checkpoint(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, store: StoreSettings
) -> None:
    known = tmp_path / "known.safetensors"
    known.write_bytes(os.urandom(3 << 20))
    put(s3_server, s3_bucket, {"a checkpoint.safetensors": known.read_bytes()})
    files = opened(tmp_path, store, budget_bytes=8 << 20, tokenizer="/somewhere")
    source = f"s3://{s3_bucket}/a checkpoint.safetensors"
    found = await files.locate(source, base_digest(known))
    assert found == tmp_path / "cache" / base_digest(known) / "model.safetensors"
    assert found.read_bytes() == known.read_bytes()
    error = await refused(files, source, "0" * 64)
    assert error.reason == "BASE_MODEL_CHANGED"
    assert f"has the digest {base_digest(known)}, not {'0' * 64}" in error.message
    assert sorted(path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()) == [
        base_digest(known)
    ]


async def test_a_broken_download_is_taken_up_where_it_broke(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str
) -> None:
    known = tmp_path / "known.safetensors"
    known.write_bytes(os.urandom(5 << 20))
    put(s3_server, s3_bucket, {"x.safetensors": known.read_bytes()})
    async with CuttingProxy(s3_server.endpoint, after_bytes=1 << 20, cuts=2) as proxy:
        files = opened(
            tmp_path, settings_of(s3_server, proxy.endpoint), budget_bytes=8 << 20, tokenizer="/somewhere"
        )
        found = await files.locate(f"s3://{s3_bucket}/x.safetensors", base_digest(known))
        assert proxy.cuts_left == 0
    assert base_digest(found) == base_digest(known)


async def test_names_of_a_listing_stay_in_the_cache(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, store: StoreSettings, digest: str
) -> None:
    hostile = [
        "../outside.json",
        "unet/../../outside.json",
        "unet/..json",
        "/outside.json",
        "unet//x.json",
        ".x.json",
    ]
    put(s3_server, s3_bucket, {f"m/{name}": data for name, data in PIPELINE.items()})
    for name in hostile:
        try:
            put(s3_server, s3_bucket, {f"m/{name}": b"{}"})
        except Exception:  # a client or server that takes no such key is as good
            continue
    found = await opened(tmp_path, store).locate(f"s3://{s3_bucket}/m", digest)
    assert base_digest(found) == digest
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name == "outside.json"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nothing.safetensors", "there is no such object or bucket"),
        ("nothing", "neither a .safetensors checkpoint nor the prefix of a pipeline directory"),
        ("model.ckpt", "nothing is unpickled"),
        ("", "is not s3://bucket/key"),
        ("big", "takes 7012 bytes, more than the cache of base models may hold (100)"),
    ],
)
async def test_what_s3_cannot_give_is_said(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, store: StoreSettings, key: str, message: str
) -> None:
    put(s3_server, s3_bucket, {f"big/{name}": data for name, data in PIPELINE.items()})
    error = await refused(opened(tmp_path, store, budget_bytes=100), f"s3://{s3_bucket}/{key}", "a" * 64)
    assert error.reason == "BASE_MODEL_UNUSABLE"
    assert message in error.message


async def test_without_settings_s3_is_refused(tmp_path: Path) -> None:
    error = await refused(opened(tmp_path), "s3://bucket/key", "a" * 64)
    assert "BRANDLOOM_S3_ENDPOINT is not set" in error.message


async def test_a_store_that_is_away_may_come_back(tmp_path: Path, s3_server: S3Server) -> None:
    files = opened(tmp_path, settings_of(s3_server, "127.0.0.1:9"))
    with pytest.raises(Unavailable, match="cannot be read just now"):
        await files.locate("s3://bucket/key", "a" * 64)


async def test_a_damaged_cache_heals(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, store: StoreSettings, digest: str
) -> None:
    put(s3_server, s3_bucket, {f"m/{name}": data for name, data in PIPELINE.items()})
    found = await opened(tmp_path, store).locate(f"s3://{s3_bucket}/m", digest)
    for harm in (lambda: (found / "unet/config.json").write_text("x"), (found / "model_index.json").unlink):
        harm()
        assert await opened(tmp_path, store).locate(f"s3://{s3_bucket}/m", digest) == found
        assert base_digest(found) == digest


async def test_the_model_used_longest_ago_leaves_first(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, store: StoreSettings
) -> None:
    digests = []
    for name in ("a", "b", "c"):
        known = tmp_path / f"{name}.safetensors"
        known.write_bytes(os.urandom(400))
        put(s3_server, s3_bucket, {known.name: known.read_bytes()})
        digests.append(base_digest(known))
    files = opened(tmp_path, store, budget_bytes=1000, tokenizer="/somewhere")
    a, b = [
        await files.locate(f"s3://{s3_bucket}/{n}.safetensors", d)
        for n, d in zip("ab", digests, strict=False)
    ]
    error = await refused(files, f"s3://{s3_bucket}/c.safetensors", digests[2])
    assert "models in use leave no room" in error.message
    long_ago = time.time() - 10_000
    for path, age in ((a, 5), (b, 0)):
        os.utime(path.parent, (long_ago + age, long_ago + age))
    await files.locate(f"s3://{s3_bucket}/b.safetensors", digests[1])
    c = await files.locate(f"s3://{s3_bucket}/c.safetensors", digests[2])
    assert (a.exists(), b.exists(), c.exists()) == (False, True, True)
    os.utime(b.parent, (long_ago, long_ago))
    assert (await files.locate(f"s3://{s3_bucket}/a.safetensors", digests[0])).exists()


async def test_a_caller_that_leaves_does_not_stop_the_others(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, store: StoreSettings, digest: str
) -> None:
    put(s3_server, s3_bucket, {f"m/{name}": data for name, data in PIPELINE.items()})
    files = opened(tmp_path, store)
    leaving = asyncio.create_task(files.locate(f"s3://{s3_bucket}/m", digest))
    staying = asyncio.create_task(files.locate(f"s3://{s3_bucket}/m", digest))
    await asyncio.sleep(0)
    leaving.cancel()
    assert base_digest(await staying) == digest


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
