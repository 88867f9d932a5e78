"""The registry over a real S3 server: uploads, downloads and presigned addresses."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest

from brandloom.api.registry.v1 import registry_pb2 as pb
from tests.fixtures.s3 import S3Server
from tests.grpc.registry.harness import refused, running_registry
from tests.grpc.registry.lora_files import kohya_file

NAME = "brands/acme/loras/hero/versions/1"


@pytest.mark.s3
async def test_files_go_through_s3(tmp_path: Path, s3_server: S3Server, s3_bucket: str) -> None:
    settings = {
        "BRANDLOOM_STORE_URL": f"s3://{s3_bucket}",
        "BRANDLOOM_S3_ENDPOINT": s3_server.endpoint,
        "BRANDLOOM_S3_ACCESS_KEY": s3_server.access_key,
        "BRANDLOOM_S3_SECRET_KEY": s3_server.secret_key,
        "BRANDLOOM_S3_REGION": s3_server.region,
        "BRANDLOOM_S3_SECURE": str(s3_server.secure).lower(),
    }
    data = kohya_file(blocks=20, rank=16)
    database = f"sqlite+aiosqlite:///{tmp_path}/registry.db"
    async with running_registry(tmp_path, database, environment=settings) as registry:
        await registry.brand()
        bad = await refused(registry.upload(data[:-1]))
        assert bad.reason == "LORA_FILE_INVALID"
        version = await registry.upload(data)
        call = registry.stub.DownloadVersion(pb.DownloadVersionRequest(name=NAME))
        assert b"".join([chunk.data async for chunk in call]) == data
        link = await registry.stub.GetDownloadUrl(pb.GetDownloadUrlRequest(name=NAME, expires_seconds=60))
        assert link.artifact == version.artifact
        answer = await asyncio.to_thread(urllib.request.urlopen, link.url, timeout=20)
        assert answer.read() == data
        assert "hero-v1.safetensors" in answer.headers["Content-Disposition"]
        again = await registry.register(version.artifact)
        assert again.version == 2
