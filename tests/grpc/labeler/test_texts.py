"""Datasets of texts: upload, review, sealing, export, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from services.labeler import service_exports
from services.labeler.domain_texts import Text
from services.labeler.limits import UploadLimits
from services.labeler.text_lines import manifest_of_texts
from services.trainer.text_manifest import is_text_manifest, read_texts
from tests.fixtures.pictures import png
from tests.grpc.labeler.harness import Labeler, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")
CSV, JSONL = 1, 2


def pair(number: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"How much is lamp {number}?", "response": f"Glow on! {number} coins.", **more}


def chat(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    return {"messages": turns}


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


async def dataset_of(labeler: Labeler, name: str) -> Any:
    return await labeler.stub.GetDataset(labeler_pb2.GetDatasetRequest(name=name))


async def update(labeler: Labeler, name: str, paths: list[str], **fields: Any) -> Any:
    sent = resources_pb2.Text(name=name, **fields)
    mask = FieldMask(paths=paths)
    return await labeler.stub.UpdateText(labeler_pb2.UpdateTextRequest(text=sent, update_mask=mask))


async def test_pairs_are_kept_in_the_order_of_their_file(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    data = b"\n" + lines(pair(3, kind="text"), pair(1, split="validation"), pair(3), pair(2))
    done = await labeler.upload_texts(parent, data, "voice.jsonl")
    assert (done.added_count, done.unchanged_count) == (3, 1)
    texts = await labeler.texts(parent)
    assert [(text.prompt, text.split, text.line_number) for text in texts] == [
        ("How much is lamp 3?", "train", 2),
        ("How much is lamp 1?", "validation", 3),
        ("How much is lamp 2?", "train", 5),
    ]
    assert {text.source_name for text in texts} == {"voice.jsonl"}
    assert not any(text.messages or text.excluded for text in texts)
    assert (await dataset_of(labeler, parent)).text_count == 3
    again = await labeler.upload_texts(parent, lines(pair(9), pair(1, split="train")), "more.jsonl")
    assert (again.added_count, again.unchanged_count) == (1, 1)
    assert [text.split for text in await labeler.texts(parent)] == ["train", "validation", "train", "train"]
    one = await labeler.stub.GetText(labeler_pb2.GetTextRequest(name=texts[0].name))
    assert one == texts[0] and len(one.sha256) == 64


async def test_a_split_for_all_lines(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload_texts(parent, lines(pair(1, split="train"), pair(2)), split="validation")
    assert [text.split for text in await labeler.texts(parent)] == ["validation", "validation"]
    wrong = await refused(labeler.upload_texts(parent, lines(pair(3)), split="test"))
    assert (wrong.code, list(wrong.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["header.split"])


async def test_conversations_by_filter_in_pages(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload_texts(parent, lines(*(chat(f"Grüße {n}", f"Answer {n}") for n in range(7))))
    request = labeler_pb2.ListTextsRequest(parent=parent, page_size=3)
    seen = []
    while True:
        page = await labeler.stub.ListTexts(request)
        seen += [text.messages[1].content for text in page.texts]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert seen == [f"Answer {n}" for n in range(7)]
    found = await labeler.texts(parent, 'messages:"Grüße 4" AND split = train')
    assert [[message.role for message in text.messages] for text in found] == [["user", "assistant"]]
    assert len(await labeler.texts(parent, "line_number > 5")) == 2
    assert list((await refused(labeler.texts(parent, "nonsense = 1"))).fields) == ["filter"]
    missing = await refused(labeler.texts("brands/acme/datasets/none"))
    assert missing.code is grpc.StatusCode.NOT_FOUND


async def test_what_a_reviewer_sets_on_a_text(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload_texts(parent, lines(pair(1), pair(2)))
    first, second = await labeler.texts(parent)
    changed = await update(labeler, first.name, ["split", "excluded"], split="validation", excluded=True)
    assert (changed.split, changed.excluded) == ("validation", True)
    assert changed.etag != first.etag
    assert list((await refused(update(labeler, first.name, ["split"], split="test"))).fields) == [
        "text.split"
    ]
    words = await refused(update(labeler, first.name, ["response"], response="other"))
    assert list(words.fields) == ["update_mask"]
    stale = await refused(update(labeler, first.name, ["split"], split="train", etag=first.etag))
    assert (stale.code, stale.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    gone = labeler_pb2.DeleteTextRequest(name=second.name, etag="stale")
    assert (await refused(labeler.stub.DeleteText(gone))).code is grpc.StatusCode.ABORTED
    await labeler.stub.DeleteText(labeler_pb2.DeleteTextRequest(name=second.name, etag=second.etag))
    assert (await dataset_of(labeler, parent)).text_count == 1
    missing = await refused(labeler.stub.GetText(labeler_pb2.GetTextRequest(name=second.name)))
    assert missing.code is grpc.StatusCode.NOT_FOUND


async def test_all_lines_are_taken_or_none(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    data = lines(
        pair(1), {"prompt": "x"}, pair(2), {"prompt": "x", "response": "y", "mood": 1}, chat("a", "b")
    )
    refusal = await refused(labeler.upload_texts(parent, data + b"{\n", "voice.jsonl"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TEXT_FILE_INVALID")
    assert list(refusal.fields) == [f"voice.jsonl:{line}" for line in (2, 4, 5, 6)]
    assert "response" in refusal.fields["voice.jsonl:2"]
    assert "'mood'" in refusal.fields["voice.jsonl:4"]
    assert "is a conversation; line 1 is a prompt" in refusal.fields["voice.jsonl:5"]
    assert (await dataset_of(labeler, parent)).text_count == 0
    empty = await refused(labeler.upload_texts(parent, b"\n", "voice.jsonl"))
    assert empty.fields == {"voice.jsonl": "holds no texts"}
    name = await refused(labeler.upload_texts(parent, lines(pair(1)), "../voice.jsonl"))
    assert list(name.fields) == ["header.file_name"]


async def test_a_dataset_has_texts_of_one_form(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload_texts(parent, lines(chat("a", "b")))
    refusal = await refused(labeler.upload_texts(parent, lines(pair(1), chat("c", "d"))))
    assert list(refusal.fields) == ["t.jsonl:1"]
    assert "what the dataset holds is a conversation" in refusal.fields["t.jsonl:1"]


async def test_a_dataset_holds_pictures_or_texts(labeler: Labeler) -> None:
    of_texts, of_pictures = await labeler.dataset(), await labeler.dataset()
    await labeler.upload_texts(of_texts, lines(pair(1)))
    await labeler.upload(of_pictures, {"a.png": png(1)})
    edit = labeler_pb2.BatchUpdateCaptionsRequest(parent=of_texts, prefix="x")
    for call in (
        labeler.upload(of_texts, {"a.png": png(1)}),
        labeler.import_captions(of_texts, b"file_name,text\n"),
        labeler.stub.BatchUpdateCaptions(edit),
        labeler.create_job(of_texts),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DATASET_HOLDS_TEXTS")
        assert f"{of_texts} holds texts, so it takes no pictures" in refusal.message
    refusal = await refused(labeler.upload_texts(of_pictures, lines(pair(1))))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DATASET_HOLDS_PICTURES")
    assert "holds pictures, so it takes no texts" in refusal.message


async def test_a_sealed_revision_is_what_the_trainer_reads(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload_texts(parent, lines(pair(2), pair(1, split="validation"), pair(3)))
    await update(labeler, (await labeler.texts(parent))[2].name, ["excluded"], excluded=True)
    sealed = await labeler.seal(parent)
    assert (sealed.text_count, sealed.image_count) == (2, 0)
    assert (await labeler.seal(parent)).name == sealed.name
    manifest = await labeler.store.get_bytes(sealed.manifest.sha256, max_bytes=1 << 20)
    assert is_text_manifest(manifest)
    read = read_texts(manifest)
    assert [(text.turns[0].content, text.split) for text in read] == [
        ("How much is lamp 2?", "train"),
        ("How much is lamp 1?", "validation"),
    ]
    await update(labeler, (await labeler.texts(parent))[2].name, ["excluded"], excluded=False)
    assert (await labeler.seal(parent)).revision == 2


async def test_an_export_can_be_uploaded_again(labeler: Labeler) -> None:
    parent, copy = await labeler.dataset(), await labeler.dataset()
    talk = chat("Hi \u2028 Ünï", "Glow on!", "And?", "Bye.") | {"split": "validation"}
    await labeler.upload_texts(parent, lines(talk, chat("a", "b")))
    name, data = await labeler.export(parent, 0)
    assert name == f"{parent.rsplit('/', 1)[1]}.jsonl"
    assert [json.loads(line) for line in data.decode().splitlines()] == [
        {"kind": "text", **talk},
        {"kind": "text", "split": "train", **chat("a", "b")},
    ]
    await labeler.upload_texts(copy, data)
    sealed, again = await labeler.seal(parent), await labeler.seal(copy)
    assert sealed.manifest.sha256 == again.manifest.sha256
    for form in (0, JSONL):
        assert (await labeler.export(sealed.name, form))[1] == data
    assert list((await refused(labeler.export(parent, CSV))).fields) == ["format"]
    pictures = await refused(labeler.export(sealed.name, 0, include_images=True))
    assert list(pictures.fields) == ["include_images"]


async def test_writing_a_large_export_keeps_nobody_waiting(
    labeler: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await labeler.dataset()
    await labeler.upload_texts(parent, lines(pair(1)))

    def slow(texts: list[Text]) -> bytes:
        time.sleep(0.5)
        return manifest_of_texts(texts)

    monkeypatch.setattr(service_exports, "manifest_of_texts", slow)
    exported = asyncio.create_task(labeler.export(parent, 0))
    longest, before = 0.0, time.monotonic()
    while not exported.done():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    assert (await exported)[1]
    assert longest < 0.4


async def test_texts_go_with_their_dataset_when_forced(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload_texts(parent, lines(pair(1)))
    sealed = await labeler.seal(parent)
    refusal = await refused(labeler.stub.DeleteDataset(labeler_pb2.DeleteDatasetRequest(name=parent)))
    assert (refusal.reason, "has 1 texts" in refusal.message) == ("DATASET_NOT_EMPTY", True)
    text = (await labeler.texts(parent))[0].name
    await labeler.stub.DeleteDataset(labeler_pb2.DeleteDatasetRequest(name=parent, force=True))
    gone = await refused(labeler.stub.GetText(labeler_pb2.GetTextRequest(name=text)))
    assert gone.code is grpc.StatusCode.NOT_FOUND
    kept = labeler_pb2.GetDatasetRevisionRequest(name=sealed.name)
    assert (await labeler.stub.GetDatasetRevision(kept)).text_count == 1
    assert (await labeler.export(sealed.name, 0))[1]


async def test_a_page_of_the_longest_texts_fits_into_a_message(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    size = UploadLimits().max_text_bytes - 20
    await labeler.upload_texts(
        parent, lines(*(pair(n, prompt=f"{n:08}", response="x" * size) for n in range(51)))
    )
    page = await labeler.stub.ListTexts(labeler_pb2.ListTextsRequest(parent=parent, page_size=1000))
    assert len(page.texts) == 50 and page.next_page_token


async def test_a_file_that_is_too_large(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    refusal = await refused(labeler.upload_texts(parent, b"\n" * ((4 << 20) + 1)))
    assert list(refusal.fields) == ["chunk"]
