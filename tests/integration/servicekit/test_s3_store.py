from __future__ import annotations

import asyncio
import io
import random
import socket
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import urllib3
from minio import Minio

from servicekit.artifacts.open import StoreSettings, open_store
from servicekit.artifacts.s3 import S3Store
from servicekit.errors import DataLoss, Internal, InvalidArgument, NotFound, Unavailable
from tests.fixtures.s3 import S3Server
from tests.servers.cutting_proxy import CuttingProxy, LeavingProxy
from tests.waiting import until

pytestmark = pytest.mark.s3
DATA = b"the very bytes" * 1000


async def download(url: str) -> Any:
    return await asyncio.to_thread(urllib3.request, "GET", url, retries=False, timeout=10)


def through(proxy: CuttingProxy, server: S3Server) -> Minio:
    """A client that does not try again by itself."""
    return Minio(
        proxy.endpoint,
        server.access_key,
        server.secret_key,
        secure=False,
        region=server.region,
        http_client=urllib3.PoolManager(timeout=10, retries=False),
    )


async def test_large_files_go_up_in_parts(
    s3_server: S3Server, s3_bucket: str, s3_store: S3Store, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(random.Random(1).randbytes(12 << 20))
    artifact = await s3_store.put_file(path)
    found = s3_server.client().stat_object(s3_bucket, artifact.uri)
    assert found.size == 12 << 20
    assert (found.etag or "").endswith("-3")  # the mark of a multipart upload: three parts of 5 MiB
    copy = await s3_store.fetch(artifact.sha256, tmp_path / "copy")
    assert copy.read_bytes() == path.read_bytes()


async def test_the_same_content_is_uploaded_once(
    s3_server: S3Server, s3_bucket: str, s3_store: S3Store
) -> None:
    artifact = await s3_store.put_bytes(DATA)
    before = s3_server.client().stat_object(s3_bucket, artifact.uri).last_modified
    await asyncio.sleep(1.1)  # S3 tells times to the second
    await s3_store.put_bytes(DATA)
    assert s3_server.client().stat_object(s3_bucket, artifact.uri).last_modified == before


@pytest.mark.parametrize("lie", [DATA[:-1], b"X" + DATA[1:], b""])
async def test_altered_bytes_are_never_handed_out_whole(
    s3_server: S3Server, s3_bucket: str, s3_store: S3Store, lie: bytes
) -> None:
    artifact = await s3_store.put_bytes(DATA)
    s3_server.client().put_object(s3_bucket, artifact.uri, io.BytesIO(lie), len(lie))
    with pytest.raises(DataLoss):
        await s3_store.get_bytes(artifact.sha256, max_bytes=10**6)


async def test_presigned_urls_download_under_the_given_name(s3_store: S3Store) -> None:
    artifact = await s3_store.put_bytes(DATA)
    url = await s3_store.presign_get(artifact.sha256, expires_seconds=60, filename='héro "1".safetensors')
    assert url is not None
    answer = await download(url)
    assert (answer.status, answer.data) == (200, DATA)
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="h_ro _1_.safetensors"')
    assert "filename*=UTF-8''h%C3%A9ro%20%221%22.safetensors" in disposition


async def test_presigned_urls_end_and_cannot_be_altered(s3_server: S3Server, s3_store: S3Store) -> None:
    if not s3_server.checks_signatures:
        pytest.skip("this server checks no signatures")
    artifact = await s3_store.put_bytes(DATA)
    url = await s3_store.presign_get(artifact.sha256, expires_seconds=1, filename="x")
    assert url is not None
    altered = url[:-4] + ("0000" if url[-4:] != "0000" else "1111")
    assert (await download(altered)).status == 403
    await asyncio.sleep(2.1)
    assert (await download(url)).status == 403


async def test_what_cannot_be_presigned(s3_store: S3Store) -> None:
    with pytest.raises(NotFound):
        await s3_store.presign_get("0" * 64, expires_seconds=60, filename="x")
    for seconds in (0, -1, 7 * 24 * 3600 + 1):
        with pytest.raises(InvalidArgument, match="expires_seconds"):
            await s3_store.presign_get("0" * 64, expires_seconds=seconds, filename="x")


async def test_wrong_keys_are_told_apart_from_a_server_that_is_down(
    s3_server: S3Server, s3_bucket: str
) -> None:
    if not s3_server.checks_signatures:
        pytest.skip("this server checks no signatures")
    store = S3Store(s3_server.client(secret_key="wrong-secret"), s3_bucket)
    with pytest.raises(Internal) as caught:
        await store.get_bytes("0" * 64, max_bytes=1)
    assert caught.value.reason == "STORE_REFUSED"
    assert not await store.ready()


async def test_a_server_that_is_down_is_unavailable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{nobody.getsockname()[1]}"
        http_client = urllib3.PoolManager(timeout=2, retries=False)
        client = Minio(endpoint, "a", "b", secure=False, region="us-east-1", http_client=http_client)
        store = S3Store(client, "bucket")
        for call in (store.stat("0" * 64), store.put_bytes(b"x"), store.get_bytes("0" * 64, max_bytes=1)):
            with pytest.raises(Unavailable):
                await call
        assert not await store.ready()


async def test_a_download_that_breaks_is_taken_up_again(s3_server: S3Server, s3_bucket: str) -> None:
    data = random.Random(2).randbytes(3 << 20)
    async with CuttingProxy(s3_server.endpoint, after_bytes=1_200_000, cuts=2) as proxy:
        artifact = await S3Store(s3_server.client(), s3_bucket).put_bytes(data)
        assert (
            await S3Store(through(proxy, s3_server), s3_bucket).get_bytes(artifact.sha256, max_bytes=10**8)
            == data
        )
        assert proxy.cuts_left == 0


async def test_a_download_that_is_given_up_holds_up_nobody(s3_server: S3Server, s3_bucket: str) -> None:
    data = random.Random(6).randbytes(3_000_000)
    artifact = await S3Store(s3_server.client(), s3_bucket).put_bytes(data)
    async with CuttingProxy(s3_server.endpoint, after_bytes=1_200_000, cuts=1, silently=True) as proxy:
        reading = asyncio.create_task(
            S3Store(through(proxy, s3_server), s3_bucket).get_bytes(artifact.sha256, max_bytes=10**8)
        )
        await until(lambda: not proxy.cuts_left)
        await asyncio.sleep(0.2)  # what has come is read by now, and more is waited for
        begun = time.monotonic()
        reading.cancel()
        await asyncio.wait([reading])
        await asyncio.sleep(0)
        assert time.monotonic() - begun < 3.0


async def test_a_store_that_says_nothing_keeps_no_process_from_ending(s3_server: S3Server) -> None:
    async with LeavingProxy(s3_server.endpoint) as proxy:
        await proxy.leave(silent=True)
        settings = StoreSettings(
            url="s3://any", endpoint=proxy.endpoint, access_key="key", secret_key="secret", secure=False
        )
        begun = time.monotonic()
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", GIVES_UP, repr(asdict(settings)))
        assert await process.wait() == 0
        assert time.monotonic() - begun < 20.0


GIVES_UP = """
import ast, asyncio, sys
from servicekit.artifacts.open import StoreSettings, open_store

async def main():
    settings = StoreSettings(**ast.literal_eval(sys.argv[1]))
    asking = asyncio.create_task(open_store(settings.url, settings).ready())
    done, _ = await asyncio.wait([asking], timeout=0.5)
    assert not done
    asking.cancel()

asyncio.run(main())
"""


async def test_the_bucket_is_made_where_that_is_allowed(s3_server: S3Server) -> None:
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    settings = {
        "url": f"s3://{bucket}",
        "endpoint": s3_server.endpoint,
        "access_key": s3_server.access_key,
        "secret_key": s3_server.secret_key,
        "region": s3_server.region,
        "secure": s3_server.secure,
    }
    closed = StoreSettings(**settings)
    assert not await open_store(closed.url, closed).ready()
    making = StoreSettings(**settings, create_bucket=True)
    store = open_store(making.url, making)
    assert await store.ready()
    artifact = await store.put_bytes(DATA)
    assert await open_store(closed.url, closed).get_bytes(artifact.sha256, max_bytes=10**6) == DATA
    client = s3_server.client()
    client.remove_object(bucket, artifact.uri)
    client.remove_bucket(bucket)


async def test_urls_are_signed_for_the_public_endpoint(s3_server: S3Server, s3_bucket: str) -> None:
    settings = StoreSettings(
        url=f"s3://{s3_bucket}",
        endpoint=s3_server.endpoint,
        public_endpoint="pictures.example.com",
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        region=s3_server.region,
        secure=s3_server.secure,
    )
    store = open_store(settings.url, settings)
    artifact = await store.put_bytes(DATA)
    url = await store.presign_get(artifact.sha256, expires_seconds=60, filename="x")
    assert url is not None
    assert url.split("://")[1].startswith("pictures.example.com/")
