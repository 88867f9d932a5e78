"""C2PA manifests: signed statements in a picture that it was generated, and from what.

Nothing is fetched or sent unless a timestamp authority is configured.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa
import structlog

from servicekit.errors import Unavailable
from servicekit.settings import ConfigError
from services.inference.domain_jobs import ImageJob, UsedLora
from services.inference.picture_text import GENERATED, program_version, record_of_beginning, source_type

GENERATION_LABEL = "org.brandloom.generation"
ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
_PNG = "image/png"
_CONTEXT = {
    # Whoever has the picture needs no small copy of it.
    "builder": {"thumbnail": {"enabled": False}},
    # By itself the library signs with a key of another certificate, or with one that has run out.
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningSettings:
    """Whose signature pictures get."""

    certificates: Path
    """PEM: the signer's certificate, then those up to the root."""
    key: Path
    """PEM, PKCS #8."""
    algorithm: str
    """One of ALGORITHMS."""
    timestamp_url: str = ""
    """RFC 3161 timestamp authority; empty: none is asked."""


class C2paSigner:
    """The PictureSigner port over the C2PA project's own library."""

    def __init__(self, settings: SigningSettings) -> None:
        """Raises ConfigError if the certificate and key cannot sign."""
        self._algorithm = settings.algorithm
        self._timestamp_url = settings.timestamp_url
        try:
            self._certificates = settings.certificates.read_bytes()
            self._key = settings.key.read_bytes()
            self._embed(_smallest_png(), _manifest(GENERATED, {}), timestamp_url="")
        except (OSError, c2pa.C2paError) as error:
            raise ConfigError(
                [f"BRANDLOOM_INFERENCE_SIGNING_CERT and _KEY cannot sign pictures: {error}"]
            ) from error

    async def sign(self, png: bytes, job: ImageJob, stack: Sequence[UsedLora]) -> bytes:
        """See the port."""
        manifest = _manifest(source_type(job), _generation(job, stack))
        try:
            return await asyncio.to_thread(self._embed, png, manifest, timestamp_url=self._timestamp_url)
        except c2pa.C2paError as error:
            # A certificate that has run out, or a timestamp authority that is away.
            _log.error("a picture could not be signed", error=str(error))
            raise Unavailable(
                "the picture could not be signed; unsigned ones are not handed out", reason="SIGNING_FAILED"
            ) from error

    def _embed(self, png: bytes, manifest: dict[str, Any], *, timestamp_url: str) -> bytes:
        info = c2pa.C2paSignerInfo(
            self._algorithm.encode(), self._certificates, self._key, timestamp_url.encode() or None
        )
        signed = io.BytesIO()
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Context.from_dict(_CONTEXT) as context,
            c2pa.Builder(json.dumps(manifest), context=context) as builder,
        ):
            builder.sign(signer, _PNG, io.BytesIO(png), signed)
        return signed.getvalue()


class NoSigner:
    """Pictures go out as they are."""

    async def sign(self, png: bytes, job: ImageJob, stack: Sequence[UsedLora]) -> bytes:
        """See the port."""
        return png


def _manifest(digital_source_type: str, generation: dict[str, Any]) -> dict[str, Any]:
    name, _, number = program_version().partition(" ")
    program = {"name": name, "version": number or "unknown"}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": digital_source_type,
        "softwareAgent": program,
    }
    return {
        "claim_generator_info": [program],
        "format": _PNG,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": GENERATION_LABEL, "data": generation},
        ],
    }


def _generation(job: ImageJob, stack: Sequence[UsedLora]) -> dict[str, Any]:
    """What the picture was made from, by digest; how it was made is told by its text chunks."""
    return {
        "base_model": {"name": job.base.name, "family": job.base.family, "sha256": job.base.sha256},
        "loras": [
            {"reference": used.reference, "version": used.version, "sha256": used.sha256} for used in stack
        ],
        **record_of_beginning(job),
    }


def _smallest_png() -> bytes:
    """One black pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(2))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
