"""Captions: one by one, in bulk, from files and to files; sealed revisions."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
import zipfile

import grpc
import pytest

from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from tests.fixtures.pictures import pixels, png, zipped
from tests.grpc.labeler.harness import Labeler, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

CSV, JSONL, TXT_ZIP = 1, 2, 3
REVIEWER = resources_pb2.CAPTION_SOURCE_REVIEWER
IMPORTED = resources_pb2.CAPTION_SOURCE_IMPORTED


async def captioned(labeler: Labeler, captions: dict[str, str]) -> str:
    """A dataset with these captions."""
    parent = await labeler.dataset()
    await labeler.upload(parent, {name: png(index) for index, name in enumerate(captions)})
    rows = "".join(json.dumps({"file_name": name, "text": text}) + "\n" for name, text in captions.items())
    await labeler.import_captions(parent, rows.encode(), JSONL)
    return parent


async def captions_of(labeler: Labeler, parent: str) -> dict[str, str]:
    return {image.source_name: image.caption for image in await labeler.images(parent)}


async def batch(labeler: Labeler, parent: str, **edit: object) -> tuple[int, int]:
    request = labeler_pb2.BatchUpdateCaptionsRequest(parent=parent, **edit)
    answer = await labeler.stub.BatchUpdateCaptions(request)
    return answer.changed_count, answer.matched_count


async def test_a_reviewer_corrects_one(labeler: Labeler) -> None:
    parent = await captioned(labeler, {"a.png": "a blue hat"})
    (image,) = await labeler.images(parent)
    assert image.caption_source == IMPORTED
    changed = await labeler.caption(image.name, "  a red hat ", image.etag)
    assert (changed.caption, changed.caption_source) == ("a red hat", REVIEWER)
    stale = await refused(labeler.caption(image.name, "late", image.etag))
    assert (stale.code, stale.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert (await labeler.caption(image.name, "")).caption_source == resources_pb2.CAPTION_SOURCE_UNSPECIFIED
    assert list((await refused(labeler.caption(image.name, "a\0b"))).fields) == ["caption"]


async def test_bulk_edits(labeler: Labeler) -> None:
    parent = await captioned(labeler, {"a.png": "a hat, hats", "b.png": "ACME, a shoe", "c.png": ""})
    assert await batch(labeler, parent, trigger_word="acme") == (1, 3)
    assert await captions_of(labeler, parent) == {
        "a.png": "acme, a hat, hats",
        "b.png": "ACME, a shoe",
        "c.png": "",
    }
    swap = labeler_pb2.FindReplace(find="HAT", replace=r"\1 cap", ignore_case=True, whole_words=True)
    assert await batch(labeler, parent, find_replace=swap) == (1, 3)
    assert await batch(labeler, parent, suffix=" on white", filter='source_name = "b.png"') == (1, 1)
    assert await batch(labeler, parent, prefix="photo of ", filter="caption:shoe") == (1, 1)
    assert await captions_of(labeler, parent) == {
        "a.png": r"acme, a \1 cap, hats",
        "b.png": "photo of ACME, a shoe on white",
        "c.png": "",
    }
    images = await labeler.images(parent)
    assert [image.caption_source for image in images] == [IMPORTED, IMPORTED, 0]


async def test_a_bulk_edit_is_all_or_none(labeler: Labeler) -> None:
    parent = await captioned(labeler, {"a.png": "short", "b.png": "x" * 3900})
    refusal = await refused(batch(labeler, parent, suffix="y" * 200))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CAPTION_TOO_LONG")
    assert "b.png" in refusal.fields["edit"]
    assert (await captions_of(labeler, parent))["a.png"] == "short"


async def test_captions_from_each_kind_of_file(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {"set/a.png": png(1), "b.jpeg.png": png(2), "c.png": png(3)})
    table = '\ufefftext,file_name,more\r\n"a ""red"", hat\nwith a feather",set/a.png,1\r\nlate,c.png,2\r\n'
    answer = await labeler.import_captions(parent, table.encode())
    assert (answer.changed_count, answer.unknown_count) == (2, 0)
    lines = b'{"file_name": "./b.jpeg.png", "text": "\\u00e9t\\u00e9", "other": 1}\n\n'
    lines += b'{"file_name":"c.png","text":"c"}'
    assert (await labeler.import_captions(parent, lines, JSONL)).changed_count == 2
    assert await captions_of(labeler, parent) == {
        "b.jpeg.png": "été",
        "c.png": "c",
        "set/a.png": 'a "red", hat\nwith a feather',
    }
    sidecars = zipped({"set/a.txt": b"an a\n", "b.jpeg.txt": b"a b", "c.png": b"picture", "c.txt": b"c"})
    assert (await labeler.import_captions(parent, sidecars, TXT_ZIP)).changed_count == 2
    assert list((await captions_of(labeler, parent)).values()) == ["a b", "c", "an a"]


@pytest.mark.parametrize(
    ("form", "data", "places"),
    [
        (CSV, b"file_name,text\na.png\nb.png,x\n", ["metadata.csv:2"]),
        (CSV, b"name,text\na.png,x\n", ["metadata.csv:1:file_name"]),
        (CSV, b"", ["metadata.csv:1"]),
        (CSV, b'file_name,text\na.png,"open\n', ["metadata.csv:2"]),
        (CSV, b"file_name,text\na.png,\xff\n", ["metadata.csv:2"]),
        (CSV, b"file_name,text\n../a.png,x\nz.png,x\n", ["metadata.csv:2:file_name"]),
        (CSV, b"file_name,text\na.png,x\nz.png,y\n\nw.png,y\n", ["metadata.csv:3", "metadata.csv:5"]),
        (CSV, b"file_name,text\na.png,x\na.png,y\n", ["metadata.csv:3"]),
        (JSONL, b'{"file_name": "a.png", "text": "x"}\n{"file_name": }\n', ["metadata.jsonl:2:15"]),
        (
            JSONL,
            b'[1]\n{"file_name": 1}\n',
            ["metadata.jsonl:1", "metadata.jsonl:2:file_name", "metadata.jsonl:2:text"],
        ),
        (JSONL, b"[" * 50_000, ["metadata.jsonl:1"]),
        (TXT_ZIP, b"no zip", ["captions.zip"]),
    ],
)
async def test_a_broken_file_names_its_place_and_changes_nothing(
    labeler: Labeler, form: int, data: bytes, places: list[str]
) -> None:
    parent = await captioned(labeler, {"a.png": "before"})
    refusal = await refused(labeler.import_captions(parent, data, form))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refusal.fields) == places
    assert await captions_of(labeler, parent) == {"a.png": "before"}


async def test_rows_that_name_no_picture_may_be_passed_over(labeler: Labeler) -> None:
    parent = await captioned(labeler, {"deep/a.png": ""})
    data = b"file_name,text\nz.png,x\na.png,found without its folder\n"
    answer = await labeler.import_captions(parent, data, ignore_unknown=True)
    assert (answer.changed_count, answer.unknown_count) == (1, 1)
    assert await captions_of(labeler, parent) == {"deep/a.png": "found without its folder"}


async def test_exports_come_back_in(labeler: Labeler) -> None:
    captions = {"a.png": 'quotes " and, commas', "b/c.png": "été\nnew line", "d.png": ""}
    parent = await captioned(labeler, captions)
    name, table = await labeler.export(parent)
    assert name == "metadata.csv"
    rows = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
    assert {row["file_name"]: row["text"] for row in rows} == captions
    for form in (CSV, JSONL, TXT_ZIP):
        _, data = await labeler.export(parent, form)
        assert (await labeler.export(parent, form))[1] == data
        await batch(labeler, parent, prefix="spoilt ")
        await labeler.import_captions(parent, data, form)
        assert await captions_of(labeler, parent) == captions


async def test_an_export_with_pictures(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {"b/a.png": png(1), "b/a.jpg": png(2), "bad.png": b"bad"})
    await labeler.import_captions(parent, b"file_name,text\nb/a.png,one\nb/a.jpg,two\n")
    name, data = await labeler.export(parent, JSONL, include_images=True)
    assert name == f"{parent.rsplit('/', 1)[1]}.zip"
    assert (await labeler.export(parent, JSONL, include_images=True))[1] == data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["metadata.jsonl", "b/a.png", "b/a-png.png"]
        lines = [json.loads(line) for line in archive.read("metadata.jsonl").splitlines()]
        assert lines == [{"file_name": "b/a.png", "text": "two"}, {"file_name": "b/a-png.png", "text": "one"}]
        assert (pixels(archive.read("b/a-png.png")) == pixels(png(1))).all()
    _, sidecars = await labeler.export(parent, TXT_ZIP, include_images=True)
    with zipfile.ZipFile(io.BytesIO(sidecars)) as archive:
        assert archive.namelist() == ["b/a.txt", "b/a.png", "b/a-png.txt", "b/a-png.png"]


async def test_a_revision_is_what_was_sealed(labeler: Labeler) -> None:
    parent = await captioned(labeler, {"b.png": "a shoe", "a.png": "a hat"})
    images = await labeler.images(parent)
    first = await labeler.seal(parent, trigger_words=["acme"], note="first")
    assert (first.name, first.revision, first.image_count) == (f"{parent}/revisions/1", 1, 2)
    assert (list(first.trigger_words), first.creator) == (["acme"], "local-administrator")
    manifest = await labeler.store.get_bytes(first.manifest.sha256, max_bytes=1 << 20)
    assert hashlib.sha256(manifest).hexdigest() == first.manifest.sha256
    assert [json.loads(line) for line in manifest.splitlines()] == [
        {
            "sha256": image.artifact.sha256,
            "size_bytes": image.artifact.size_bytes,
            "width": 64,
            "height": 48,
            "caption": image.caption,
            "tags": [],
            "split": "train",
            "flags": [],
            "source_name": image.source_name,
        }
        for image in images
    ]
    assert await labeler.seal(parent, trigger_words=["acme"], note="again") == first
    await labeler.caption(images[0].name, "a red hat")
    second = await labeler.seal(parent, trigger_words=["acme"])
    assert second.revision == 2 and second.manifest.sha256 != first.manifest.sha256
    await labeler.caption(images[0].name, "a hat")
    third = await labeler.seal(parent, trigger_words=["acme"])
    assert (third.revision, third.manifest) == (3, first.manifest)
    get = labeler_pb2.GetDatasetRevisionRequest
    assert await labeler.stub.GetDatasetRevision(get(name=f"{parent}/revisions/latest")) == third
    assert await labeler.stub.GetDatasetRevision(get(name=first.name)) == first
    _, exported = await labeler.export(second.name)
    assert exported == b"file_name,text\na.png,a red hat\nb.png,a shoe\n"
    listed = await labeler.stub.ListDatasetRevisions(labeler_pb2.ListDatasetRevisionsRequest(parent=parent))
    assert [revision.revision for revision in listed.revisions] == [3, 2, 1]
    await labeler.stub.DeleteDataset(labeler_pb2.DeleteDatasetRequest(name=parent, force=True))
    assert await labeler.stub.GetDatasetRevision(get(name=first.name)) == first


async def test_what_cannot_be_sealed(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    assert (await refused(labeler.seal(parent))).reason == "DATASET_EMPTY"
    await labeler.upload(parent, {"a.png": png(1), "bad.png": b"bad"})
    refusal = await refused(labeler.seal(parent))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CAPTIONS_MISSING")
    assert "a.png" in refusal.message
    assert (await labeler.seal(parent, allow_empty_captions=True)).image_count == 1


async def test_a_seal_repeated_by_its_request_id(labeler: Labeler) -> None:
    parent = await captioned(labeler, {"a.png": "a hat"})
    request_id = str(uuid.uuid4())
    first = await labeler.seal(parent, request_id=request_id)
    (image,) = await labeler.images(parent)
    await labeler.caption(image.name, "changed")
    assert await labeler.seal(parent, request_id=request_id) == first
    assert (
        await refused(labeler.seal(parent, request_id=request_id, note="x"))
    ).reason == "REQUEST_ID_REUSED"
    for number in ("0", "x", "99999999999", "-1"):
        request = labeler_pb2.GetDatasetRevisionRequest(name=f"{parent}/revisions/{number}")
        assert list((await refused(labeler.stub.GetDatasetRevision(request))).fields) == ["name"]
