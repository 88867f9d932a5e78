"""`brandloom pictures inspect` on files, signed and not, changed and broken."""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from brandloom.cli.main import cli
from brandloom.cli.picture_texts import PictureFileError, read_texts
from brandloom.cli.session import Session
from lorakit.picture_metadata import embed_png, read_png
from services.inference.domain import (
    Box,
    Composition,
    ImageRequest,
    InitialImage,
    Limits,
    Mask,
    StackEntry,
    StepWindow,
)
from services.inference.domain_jobs import Picture, RawPicture, Started
from services.inference.domain_sweep import Cell, SweepRequest
from services.inference.picture_signing import C2paSigner, SigningSettings
from services.inference.picture_text import with_texts
from services.inference.sweep_texts import with_sheet_texts
from tests.fixtures.pictures import png
from tests.fixtures.signing_certificates import SigningFiles, write_signing_files
from tests.unit.inference.test_picture_signing import HERO, JOB


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SigningFiles:
    return write_signing_files(tmp_path_factory.mktemp("signing"))


@pytest.fixture(scope="module")
def made() -> bytes:
    """As the service makes them, with all text chunks; a prompt that a terminal would obey."""
    raw = RawPicture(index=0, seed=7, width=64, height=48, png=png(1))
    started = Started(width=64, height=48, karras=False)
    return with_texts(raw, brand="acme", full_prompt="a fox \x1b[31m", job=JOB, started=started, stack=[HERO])


async def signed(made: bytes, files: SigningFiles) -> bytes:
    settings = SigningSettings(certificates=files.certificates, key=files.key, algorithm="es256")
    return await C2paSigner(settings).sign(made, JOB, [HERO])


def inspect(file: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["pictures", "inspect", str(file), *options], obj=Session())


def written(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "fox.png"
    file.write_bytes(data)
    return file


async def test_a_signed_picture_says_how_it_was_made_and_that_it_holds(
    tmp_path: Path, made: bytes, files: SigningFiles
) -> None:
    file = written(tmp_path, await signed(made, files))
    result = inspect(file)
    assert result.exit_code == 0, result.output
    lines = dict(line.split(None, 1) for line in result.output.splitlines() if len(line.split()) > 1)
    assert lines["source"] == "trainedAlgorithmicMedia"
    assert lines["prompt"] == "a fox"
    assert lines["base"].startswith("baseModels/tiny")
    assert lines["stack"] == "brands/acme/loras/hero/versions/3 at 0.8  cdcdcdcdcdcd"
    assert (lines["manifest"], lines["signed"].split(None, 1)) == ("valid", ["by", "Acme pictures, Acme"])
    found = json.loads(inspect(file, "--trust", str(files.authority), "--json").output)
    assert found["manifest"]["state"] == "trusted"
    assert found["manifest"]["made_from"]["loras"][0]["sha256"] == "cd" * 32
    assert found["record"]["seed"] == 7


def test_the_table_tells_windows_regions_and_the_composition(tmp_path: Path) -> None:
    job = replace(JOB, composition=Composition.SWITCH, switch_every=2)
    stack = [
        replace(HERO, window=StepWindow(start=0.0, end=0.6)),
        replace(HERO, region=Box(left=0.0, top=0.0, right=0.5, bottom=1.0)),
        replace(HERO, region=Mask(png=b"mask")),
    ]
    raw = RawPicture(index=0, seed=7, width=64, height=48, png=png(1))
    started = Started(width=64, height=48, karras=False)
    data = with_texts(raw, brand="acme", full_prompt="a fox", job=job, started=started, stack=stack)
    told = inspect(written(tmp_path, data)).output
    assert "at 0.8 steps=0%-60%  cdcdcdcdcdcd" in told
    assert "at 0.8 box=0%,0%,50%,100%  cdcdcdcdcdcd" in told
    assert f"at 0.8 mask {hashlib.sha256(b'mask').hexdigest()[:12]}  cdcdcdcdcdcd" in told
    assert "switch, 2 steps each" in told


def test_a_record_with_odd_parts_is_shown_all_the_same(tmp_path: Path) -> None:
    record = {"stack": [{"reference": "hero", "window": 7, "box": ["a"]}], "sweep": {"seeds": "many"}}
    result = inspect(written(tmp_path, embed_png(png(1), {"brandloom": json.dumps(record)})))
    assert result.exit_code == 0, result.output
    assert "steps=7 box=['a']" in result.output


def test_the_sheet_of_a_sweep_says_what_its_cells_are(tmp_path: Path) -> None:
    template = ImageRequest(brand="acme", prompt="", stack=(StackEntry(reference="hero@prod", weight=0.5),))
    request = SweepRequest(
        template=template, prompts=("a fox <lora:neon:0.3>", "a hat"), seeds=(7, 8), weights=(0.0, 1.5)
    )
    picture = Picture(index=0, seed=7, width=64, height=48, png=b"", sha256="0f" * 32)
    data = with_sheet_texts(
        png(1),
        request=request,
        limits=Limits(),
        job=JOB,
        stack=[HERO],
        cells={place: Cell(place=place, picture=picture) for place in request.places()},
    )
    file = written(tmp_path, data)
    record = json.loads(inspect(file, "--json").output)["record"]
    assert [entry["prompt"] for entry in record["sweep"]["prompts"]] == ["a fox", "a hat"]
    assert [(lora["reference"], lora["weight"]) for lora in record["sweep"]["prompts"][0]["stack"]] == [
        ("neon", 0.3),
        ("hero@prod", 0.5),
    ]
    assert len(record["sweep"]["cells"]) == 8
    assert record["sweep"]["cells"][7] == {
        "prompt": 1, "seed": 1, "weight": 1, "width": 64, "height": 48, "sha256": "0f" * 32,
    }  # fmt: skip
    table = inspect(file).output
    for told in ("trainedAlgorithmicMedia", "a hat", "7, 8", "x 0.0, x 1.5", "hero/versions/3  cdcdcdcdcdcd"):
        assert told in table


async def test_an_authority_that_did_not_certify_the_signer_does_not_make_it_trusted(
    tmp_path: Path, made: bytes, files: SigningFiles
) -> None:
    other = write_signing_files(tmp_path / "other")
    found = inspect(written(tmp_path, await signed(made, files)), "--trust", str(other.authority), "--json")
    assert json.loads(found.output)["manifest"]["state"] == "valid"


async def test_authorities_must_be_certificates(tmp_path: Path, made: bytes, files: SigningFiles) -> None:
    file = written(tmp_path, await signed(made, files))
    for wrong in (file, files.key):
        result = inspect(file, "--trust", str(wrong))
        assert result.exit_code == 2
        assert "holds no certificates" in result.output


async def test_a_changed_picture_is_invalid(tmp_path: Path, made: bytes, files: SigningFiles) -> None:
    changed = embed_png(await signed(made, files), {"parameters": "a photograph"})
    result = inspect(written(tmp_path, changed), "--json")
    assert result.exit_code == 1
    manifest = json.loads(result.output)["manifest"]
    assert manifest["state"] == "invalid"
    assert any("dataHash.mismatch" in problem for problem in manifest["problems"])


def test_an_unsigned_picture_has_no_manifest(tmp_path: Path, made: bytes) -> None:
    result = inspect(written(tmp_path, made), "--json")
    found = json.loads(result.output)
    assert (result.exit_code, found["manifest"]["state"]) == (0, "none")
    assert found["digital_source_type"] == "trainedAlgorithmicMedia"


async def test_without_the_library_it_says_that_it_did_not_check(
    tmp_path: Path, made: bytes, files: SigningFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, await signed(made, files))
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert json.loads(inspect(file, "--json").output)["manifest"]["state"] == "not checked"
    assert json.loads(inspect(written(tmp_path, made), "--json").output)["manifest"]["state"] == "none"


def test_pictures_of_other_programs_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    texts = {"parameters": "a fox\nSteps: 3", "brandloom": '["no", "record"]'}
    result = inspect(written(tmp_path, embed_png(png(1), texts)))
    assert result.exit_code == 0
    assert "a fox" in result.output


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff\xe0 a JPEG", png(1)[:-40]], ids=["empty", "jpeg", "cut"]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    result = inspect(written(tmp_path, data))
    assert result.exit_code == 2
    assert "fox.png" in result.output


def test_texts_are_read_as_they_were_written() -> None:
    texts = {"plain": "a fox", "wide": "ein Fuchs \N{FOX FACE}", "XML:com.adobe.xmp": "<x/>"}
    data = embed_png(png(1), texts)
    assert read_texts(data) == read_png(data) == texts


def test_a_text_that_unpacks_without_end_is_refused() -> None:
    packed = zlib.compress(bytes(64 << 20))
    body = b"parameters\0\0" + packed
    chunk = len(body).to_bytes(4, "big") + b"zTXt" + body + zlib.crc32(b"zTXt" + body).to_bytes(4, "big")
    with pytest.raises(PictureFileError, match="more than"):
        read_texts(png(1)[:33] + chunk + png(1)[33:])


def test_an_inpainted_picture_is_told_as_one() -> None:
    job = replace(JOB, initial_image=InitialImage(image=b"picture", mask_png=b"mask"))
    raw = RawPicture(index=0, seed=7, width=64, height=48, png=png(1))
    started = Started(width=64, height=48, karras=False)
    data = with_texts(raw, brand="acme", full_prompt="a fox", job=job, started=started, stack=[])
    assert "/compositeWithTrainedAlgorithmicMedia" in read_texts(data)["XML:com.adobe.xmp"]
