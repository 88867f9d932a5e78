"""Opens the artifact store that the configuration names.

store_settings = read_store_settings(reader, home)   # in config.py, beside the other settings
store = open_store(store_settings.url, store_settings)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import urllib3

from servicekit.artifacts.local import LocalStore
from servicekit.artifacts.port import ArtifactStore
from servicekit.settings import Settings

if TYPE_CHECKING:
    from minio import Minio

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSettings:
    """Where the artifact store is, and how to reach S3: needed for `s3://` URLs, and else where base models
    lie in S3.
    """

    url: str
    """`file:///directory` or `s3://bucket`"""
    endpoint: str = ""
    """`host:port` of the S3 server, as this service reaches it"""
    public_endpoint: str = ""
    """`host:port` for presigned URLs, where callers need another one; empty: the same"""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    region: str = "us-east-1"
    secure: bool = True
    """Whether to speak TLS with the S3 server"""
    create_bucket: bool = False
    """Whether a missing bucket is made at the first readiness check"""


def read_store_settings(reader: Settings, home: Path) -> StoreSettings:
    """Reads BRANDLOOM_STORE_URL and BRANDLOOM_S3_*; faults go to the reader."""
    url = reader.text("BRANDLOOM_STORE_URL", (home.absolute() / "store").as_uri())
    parts = urlsplit(url)
    local = parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc
    in_s3 = parts.scheme == "s3" and _BUCKET.match(parts.netloc) and not parts.path.strip("/")
    if not local and not in_s3:
        reader.fault("BRANDLOOM_STORE_URL", f"must be file:///directory or s3://bucket, not {url!r}")
        return StoreSettings(url=url)
    needless = "" if local else None
    endpoint = reader.address("BRANDLOOM_S3_ENDPOINT", needless, allow_empty=local)
    if local and not endpoint:
        return StoreSettings(url=url)
    return StoreSettings(
        url=url,
        endpoint=endpoint,
        public_endpoint=reader.address("BRANDLOOM_S3_PUBLIC_ENDPOINT", "", allow_empty=True),
        access_key=reader.text("BRANDLOOM_S3_ACCESS_KEY"),
        secret_key=reader.text("BRANDLOOM_S3_SECRET_KEY"),
        region=reader.text("BRANDLOOM_S3_REGION", "us-east-1"),
        secure=reader.boolean("BRANDLOOM_S3_SECURE", True),
        create_bucket=reader.boolean("BRANDLOOM_S3_CREATE_BUCKET", False),
    )


def open_store(url: str, settings: StoreSettings | None = None) -> ArtifactStore:
    """The store of that URL; ValueError when the URL is none of a store. Connects on first use, not here."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and settings is not None:
        return _open_s3(parts.netloc, settings)
    raise ValueError(f"no artifact store can be opened at {url!r}")


def s3_client(settings: StoreSettings, endpoint: str = "") -> Minio:
    """A client for the S3 server of the settings, or at another endpoint. Connects on first use."""
    # Imported here: with the embedded default no S3 client need be installed.
    from minio import Minio

    return Minio(
        endpoint or settings.endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        region=settings.region,
        secure=settings.secure,
        http_client=_http_client(),
    )


def _open_s3(bucket: str, settings: StoreSettings) -> ArtifactStore:
    from servicekit.artifacts.s3 import S3Store

    public = s3_client(settings, settings.public_endpoint) if settings.public_endpoint else None
    return S3Store(
        s3_client(settings), bucket, presigning_client=public, create_bucket=settings.create_bucket
    )


def _http_client() -> urllib3.PoolManager:
    from servicekit.artifacts.s3 import CONNECTIONS

    # The client's own default waits 5 minutes for an answer, which no readiness check and no caller would.
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=5, read=60),
        maxsize=CONNECTIONS,
        retries=urllib3.Retry(total=3, read=1, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
    )
