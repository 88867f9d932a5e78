"""Both artifact stores, empty, behind one fixture."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicekit.artifacts.local import LocalStore
from servicekit.artifacts.port import ArtifactStore
from servicekit.artifacts.s3 import S3Store

PART_BYTES = 5 << 20  # the least that S3 takes


@pytest.fixture
def local_store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def s3_store(request: pytest.FixtureRequest) -> S3Store:
    server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("s3_bucket")
    return S3Store(server.client(), bucket, part_bytes=PART_BYTES)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    found: ArtifactStore = request.getfixturevalue(f"{request.param}_store")
    return found
