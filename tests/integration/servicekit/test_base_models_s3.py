"""Base models from S3, and the cache that keeps them."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from lorakit.base_digest import base_digest
from servicekit.artifacts.open import StoreSettings
from servicekit.errors import Unavailable
from tests.fixtures.s3 import S3Server
from tests.integration.servicekit.base_models import PIPELINE, UNREAD, opened, refused, write
from tests.servers.cutting_proxy import CuttingProxy


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return base_digest(write(tmp_path / "known", PIPELINE))


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
