"""Uploads over a real connection: pictures, archives, bad files, duplicates."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import grpc
import pytest
from PIL import Image

from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from tests.fixtures.pictures import encoded, noise, pixels, png, zipped
from tests.grpc.labeler.harness import Labeler, Outcome, refused, upload_messages

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOO_SMALL = resources_pb2.IMAGE_FLAG_TOO_SMALL
EXACT = resources_pb2.IMAGE_FLAG_EXACT_DUPLICATE
NEAR = resources_pb2.IMAGE_FLAG_NEAR_DUPLICATE
UNREADABLE = resources_pb2.IMAGE_FLAG_UNREADABLE


async def download(labeler: Labeler, name: str) -> tuple[list, bytes]:
    request = labeler_pb2.DownloadImageRequest(name=name)
    chunks = [chunk async for chunk in labeler.stub.DownloadImage(request)]
    return chunks, b"".join(chunk.data for chunk in chunks)


async def test_a_picture_comes_back_upright_and_under_its_digest(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = noise(1, 80, 40)
    (result,) = await labeler.upload(parent, {"photos/one.jpg": encoded(picture, "JPEG", exif=exif)})
    assert result.outcome == Outcome.OUTCOME_ADDED
    (image,) = await labeler.images(parent)
    assert (image.name, image.source_name, image.source_format) == (result.image, "photos/one.jpg", "jpeg")
    assert (image.width, image.height) == (40, 80)
    chunks, data = await download(labeler, image.name)
    assert chunks[0].file_name == "one.png"
    assert chunks[0].artifact.sha256 == image.artifact.sha256 == hashlib.sha256(data).hexdigest()
    assert Image.open(io.BytesIO(data)).size == (40, 80)
    assert Image.open(io.BytesIO(data)).mode == "RGB"


async def test_a_bad_file_does_not_stop_the_others(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    files = {
        "a.png": png(10),
        "cut.jpg": encoded(noise(11), "JPEG")[:600],
        "empty.png": b"",
        "words.png": b"this is no picture at all",
        "huge.png": encoded(Image.new("L", (4000, 1001))),
        "big.bin": b"\x00" * (4 * 2**20 + 1),
        "../../etc/passwd": png(12),
        "/abs.png": png(13),
        "notes.txt": b"a caption",
        "b.png": png(14),
    }
    results = await labeler.upload(parent, files)
    assert [(result.source_name, result.failure.reason) for result in results] == [
        ("a.png", ""),
        ("cut.jpg", "PICTURE_TRUNCATED"),
        ("empty.png", "FILE_EMPTY"),
        ("words.png", "FORMAT_UNSUPPORTED"),
        ("huge.png", "PICTURE_TOO_LARGE"),
        ("big.bin", "FILE_TOO_LARGE"),
        ("../../etc/passwd", "FILE_NAME_REFUSED"),
        ("/abs.png", "FILE_NAME_REFUSED"),
        ("notes.txt", "NOT_A_PICTURE"),
        ("b.png", ""),
    ]
    assert [result.outcome for result in results].count(Outcome.OUTCOME_REJECTED) == 8
    listed = await labeler.images(parent, "flags:IMAGE_FLAG_UNREADABLE")
    assert [image.source_name for image in listed] == ["cut.jpg", "empty.png", "huge.png", "words.png"]
    assert all(image.excluded and image.failure.reason and not image.artifact.sha256 for image in listed)
    assert len(await labeler.images(parent, "NOT flags:UNREADABLE")) == 2


async def test_the_flags(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    original = noise(20, 200, 160)
    louder = original.point(lambda value: min(255, value + 2))
    files = {
        "first.png": encoded(original),
        "same-pixels.bmp": encoded(original, "BMP"),
        "nearly.jpg": encoded(louder, "JPEG", quality=80),
        "smaller.png": encoded(original.resize((150, 120), Image.Resampling.LANCZOS)),
        "other.png": png(21, 200, 160),
        "other-colours.png": encoded(Image.merge("RGB", original.split()[::-1])),
    }
    results = await labeler.upload(parent, files, min_side=130)
    images = {image.source_name: image for image in await labeler.images(parent)}
    flags = {name: list(image.flags) for name, image in images.items()}
    assert flags == {
        "first.png": [],
        "same-pixels.bmp": [EXACT],
        "nearly.jpg": [NEAR],
        "smaller.png": [TOO_SMALL, NEAR],
        "other.png": [],
        "other-colours.png": [],
    }
    first = images["first.png"].name
    assert {images[name].duplicate_of for name in ("same-pixels.bmp", "nearly.jpg", "smaller.png")} == {first}
    assert [name for name, image in images.items() if image.excluded] == ["same-pixels.bmp"]
    assert results[1].outcome == Outcome.OUTCOME_DUPLICATE
    dataset = await labeler.stub.GetDataset(labeler_pb2.GetDatasetRequest(name=parent))
    assert (dataset.image_count, dataset.flagged_count) == (6, 3)


async def test_the_default_minimum_is_512(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    (result,) = await labeler.upload(parent, {"a.png": png(1)}, min_side=0)
    assert list(result.flags) == [TOO_SMALL]


async def test_an_upload_repeated_changes_nothing(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    files = {"a.png": png(30), "b.png": png(31), "bad.png": b"no"}
    await labeler.upload(parent, files)
    before = await labeler.images(parent)
    results = await labeler.upload(parent, files | {"a.png": png(32)})
    assert [result.outcome for result in results] == [
        Outcome.OUTCOME_REJECTED,
        Outcome.OUTCOME_UNCHANGED,
        Outcome.OUTCOME_REJECTED,
    ]
    assert results[0].failure.reason == "FILE_NAME_TAKEN"
    after = await labeler.images(parent)
    assert after[:2] == before[:2] and len(after) == 3


async def test_a_bad_file_can_be_sent_again_mended(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {"a.png": png(40)[:200]})
    (result,) = await labeler.upload(parent, {"a.png": png(40)})
    assert result.outcome == Outcome.OUTCOME_ADDED
    (image,) = await labeler.images(parent)
    assert not image.flags and not image.excluded and image.name == result.image


async def test_an_archive_gives_a_result_for_each_file(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    archive = zipped(
        {
            "set/a.png": png(50),
            "set/b.jpg": encoded(noise(51), "JPEG"),
            "__MACOSX/set/._a.png": b"junk",
            "set/.DS_Store": b"junk",
            "../out.png": png(52),
            "set/inner.zip": zipped({"x.png": png(53)}),
            "set/bad.png": b"bad",
        }
    )
    results = await labeler.upload(parent, {"pictures.zip": archive, "c.png": png(54)})
    assert [(result.source_name, result.failure.reason) for result in results] == [
        ("set/a.png", ""),
        ("set/b.jpg", ""),
        ("../out.png", "FILE_NAME_REFUSED"),
        ("set/inner.zip", "ARCHIVE_NESTED"),
        ("set/bad.png", "FORMAT_UNSUPPORTED"),
        ("c.png", ""),
    ]


async def test_an_archive_that_is_refused_as_a_whole(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    archive = zipped({"a.png": png(60)})
    results = await labeler.upload(parent, {"cut.zip": archive[:-30], "a.zip": b"PK\x03\x04 nothing"})
    assert [result.failure.reason for result in results] == ["ARCHIVE_UNREADABLE"] * 2
    empty = await labeler.upload(parent, {"empty.zip": zipped({}), "junk.zip": zipped({"Thumbs.db": b""})})
    assert [(result.source_name, result.failure.reason) for result in empty] == [
        ("empty.zip", "ARCHIVE_EMPTY"),
        ("junk.zip", "ARCHIVE_EMPTY"),
    ]
    assert not await labeler.images(parent)


async def test_a_decompression_bomb_is_refused_by_its_header(labeler: Labeler) -> None:
    parent = await labeler.dataset()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10_000_000))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (result,) = await labeler.upload(parent, {"bomb.png": bomb})
    assert result.failure.reason == "PICTURE_TOO_LARGE"


async def test_a_size_that_was_announced_must_be_right(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    messages = list(upload_messages(parent, {"a.png": png(70)}, min_side=1))
    messages[1].file.size_bytes += 1
    answer = await labeler.stub.UploadImages(iter(messages))
    assert answer.results[0].failure.reason == "SIZE_MISMATCH"
    assert answer.rejected_count == 1


async def test_messages_in_the_wrong_order(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    header, file, chunk = list(upload_messages(parent, {"a.png": png(71)}))[:3]
    for messages, field in (
        ([file, chunk], "header"),
        ([header, header], "header"),
        ([header, chunk], "chunk"),
    ):
        refusal = await refused(labeler.stub.UploadImages(iter(messages)))
        assert (refusal.code, list(refusal.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_a_caption_may_come_with_the_picture(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    messages = list(upload_messages(parent, {"a.png": png(72)}, min_side=1))
    messages[1].file.caption = " a red hat "
    await labeler.stub.UploadImages(iter(messages))
    (image,) = await labeler.images(parent)
    assert (image.caption, image.caption_source) == ("a red hat", resources_pb2.CAPTION_SOURCE_IMPORTED)


async def test_an_upload_into_nowhere(labeler: Labeler) -> None:
    refusal = await refused(labeler.upload("brands/acme/datasets/nowhere", {"a.png": png(1)}))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_when_the_first_goes_its_duplicate_takes_its_place(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    data = png(80)
    results = await labeler.upload(parent, {"a.png": data, "b.png": data, "c.png": data})
    refusal = await refused(
        labeler.stub.DeleteImage(labeler_pb2.DeleteImageRequest(name=results[0].image, etag="stale"))
    )
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    await labeler.stub.DeleteImage(labeler_pb2.DeleteImageRequest(name=results[0].image))
    b, c = await labeler.images(parent)
    assert (list(b.flags), b.excluded, b.duplicate_of) == ([], False, "")
    assert (list(c.flags), c.excluded, c.duplicate_of) == ([EXACT], True, b.name)


async def test_what_comes_down_is_what_went_up(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    data = png(90, 333, 222)
    (result,) = await labeler.upload(parent, {"a.png": data})
    _, back = await download(labeler, result.image)
    assert (pixels(back) == pixels(data)).all()


async def test_figures_are_kept(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    read = labeler.metrics.registry.get_sample_value
    name = "brandloom_labeler_uploaded_files_total"
    before = [read(name, {"outcome": outcome}) for outcome in ("added", "rejected")]
    await labeler.upload(parent, {"a.png": png(95), "b.png": b"bad"})
    assert [read(name, {"outcome": outcome}) for outcome in ("added", "rejected")] == [
        before[0] + 1,
        before[1] + 1,
    ]
