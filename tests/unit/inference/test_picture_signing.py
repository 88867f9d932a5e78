"""Signed manifests: what they say, that they hold, and that a picture is never quietly unsigned."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import c2pa
import pytest

from lorakit.picture_metadata import embed_png, read_png
from servicekit.errors import Unavailable
from servicekit.settings import ConfigError
from services.inference.domain import InitialImage, Sampler
from services.inference.domain_jobs import BaseRef, ImageJob, UsedLora
from services.inference.picture_signing import GENERATION_LABEL, C2paSigner, NoSigner, SigningSettings
from tests.fixtures.pictures import pixels, png
from tests.fixtures.signing_certificates import SigningFiles, write_signing_files

TEXTS = {"parameters": "a fox\nSteps: 3", "brandloom": '{"seed": 7}'}
HERO = UsedLora(
    reference="hero@prod",
    version="brands/acme/loras/hero/versions/3",
    sha256="cd" * 32,
    text_encoder_weight=1.0,
    weight=0.8,
)
JOB = ImageJob(
    job_id="job",
    brand="acme",
    base=BaseRef(name="baseModels/tiny", source="/models/tiny", sha256="ab" * 32),
    prompt="a fox",
    negative_prompt="",
    loras=(),
    steps=3,
    guidance=5.0,
    sampler=Sampler.EULER,
    karras=None,
    seed=7,
    width=64,
    height=48,
    count=1,
    clip_skip=0,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SigningFiles:
    return write_signing_files(tmp_path_factory.mktemp("signing"))


def settings(files: SigningFiles, **changes: Any) -> SigningSettings:
    given = SigningSettings(certificates=files.certificates, key=files.key, algorithm="es256")
    return replace(given, **changes)


def manifest_of(data: bytes, authority: Path | None = None) -> tuple[str, dict[str, Any]]:
    """The state and the active manifest as the C2PA project's own reader has them."""
    trust = {"trust_anchors": authority.read_text()} if authority else {}
    context = c2pa.Context.from_dict({"trust": trust, "verify": {"verify_trust": True}})
    with context, c2pa.Reader("image/png", io.BytesIO(data), context=context) as reader:
        state, store = reader.get_validation_state(), json.loads(reader.json())
    assert state is not None
    return state, store["manifests"][store["active_manifest"]]


def assertion(manifest: dict[str, Any], label: str) -> Any:
    return next(entry["data"] for entry in manifest["assertions"] if entry["label"].startswith(label))


async def test_the_manifest_says_that_the_picture_is_generated_and_from_what(files: SigningFiles) -> None:
    given = embed_png(png(1), TEXTS)
    signed = await C2paSigner(settings(files)).sign(given, JOB, [HERO])
    state, manifest = manifest_of(signed, files.authority)
    assert state == "Trusted"
    assert manifest["signature_info"]["common_name"] == "Acme pictures"
    assert manifest["claim_generator_info"][0]["name"] == "brandloom"
    (created,) = assertion(manifest, "c2pa.actions")["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert assertion(manifest, GENERATION_LABEL) == {
        "base_model": {"name": "baseModels/tiny", "family": "sd15", "sha256": "ab" * 32},
        "loras": [
            {
                "reference": "hero@prod",
                "version": "brands/acme/loras/hero/versions/3",
                "sha256": "cd" * 32,
            }
        ],
    }


async def test_texts_and_pixels_stay_as_they_were(files: SigningFiles) -> None:
    given = embed_png(png(2), TEXTS)
    signed = await C2paSigner(settings(files)).sign(given, JOB, [])
    assert read_png(signed) == TEXTS
    assert (pixels(signed) == pixels(given)).all()


async def test_an_inpainted_picture_is_a_composite(files: SigningFiles) -> None:
    job = replace(JOB, initial_image=InitialImage(image=png(3), mask_png=png(4)))
    _, manifest = manifest_of(await C2paSigner(settings(files)).sign(png(1), job, []))
    (created,) = assertion(manifest, "c2pa.actions")["actions"]
    assert created["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert set(assertion(manifest, GENERATION_LABEL)) >= {"initial_image_sha256", "mask_sha256"}


async def test_a_changed_picture_is_found_out(files: SigningFiles) -> None:
    signed = await C2paSigner(settings(files)).sign(embed_png(png(1), TEXTS), JOB, [])
    assert manifest_of(signed)[0] == "Valid"
    retold = embed_png(signed, {"parameters": "a photograph"})
    assert manifest_of(retold)[0] == "Invalid"


async def test_without_a_signer_pictures_are_as_they_were() -> None:
    assert await NoSigner().sign(png(1), JOB, [HERO]) == png(1)


@pytest.mark.parametrize("name", ["certificates", "key"])
def test_files_that_cannot_sign_are_told_at_the_start(files: SigningFiles, tmp_path: Path, name: str) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate and no key")
    with pytest.raises(ConfigError, match="BRANDLOOM_INFERENCE_SIGNING_CERT and _KEY cannot sign"):
        C2paSigner(settings(files, **{name: bad}))


def test_a_key_of_another_certificate_is_told_at_the_start(files: SigningFiles, tmp_path: Path) -> None:
    other = write_signing_files(tmp_path)
    with pytest.raises(ConfigError, match="cannot sign"):
        C2paSigner(settings(files, key=other.key))


def test_a_certificate_that_has_run_out_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot sign"):
        C2paSigner(settings(write_signing_files(tmp_path, days=-1)))


async def test_a_picture_that_cannot_be_signed_does_not_leave(files: SigningFiles) -> None:
    # Nobody listens there: the timestamp cannot be had.
    signer = C2paSigner(settings(files, timestamp_url="http://127.0.0.1:9"))
    with pytest.raises(Unavailable) as caught:
        await signer.sign(png(1), JOB, [])
    assert caught.value.reason == "SIGNING_FAILED"
