"""Datasets and pictures as resources: standard methods, filters, pages, etags, request ids, authorisation."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from servicekit.identity import Principal
from tests.fixtures.pictures import png
from tests.grpc.labeler.harness import Labeler, refused, running_labeler

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_dataset_from_birth_to_death(labeler: Labeler) -> None:
    request = labeler_pb2.CreateDatasetRequest(
        parent="brands/acme",
        dataset_id="life",
        dataset=resources_pb2.Dataset(display_name="Life", description="of a dataset"),
    )
    made = await labeler.stub.CreateDataset(request)
    assert (made.name, made.display_name, made.image_count) == ("brands/acme/datasets/life", "Life", 0)
    assert (await refused(labeler.stub.CreateDataset(request))).code is grpc.StatusCode.ALREADY_EXISTS
    changed = await labeler.stub.UpdateDataset(
        labeler_pb2.UpdateDatasetRequest(
            dataset=resources_pb2.Dataset(name=made.name, description="", display_name="x", etag=made.etag),
            update_mask=FieldMask(paths=["description"]),
        )
    )
    assert (changed.display_name, changed.description) == ("Life", "")
    assert changed.etag != made.etag
    stale = labeler_pb2.DeleteDatasetRequest(name=made.name, etag=made.etag)
    assert (await refused(labeler.stub.DeleteDataset(stale))).reason == "ETAG_MISMATCH"
    await labeler.upload(made.name, {"a.png": png(1)})
    plain = labeler_pb2.DeleteDatasetRequest(name=made.name)
    assert (await refused(labeler.stub.DeleteDataset(plain))).reason == "DATASET_NOT_EMPTY"
    await labeler.stub.DeleteDataset(labeler_pb2.DeleteDatasetRequest(name=made.name, force=True))
    gone = await refused(labeler.stub.GetDataset(labeler_pb2.GetDatasetRequest(name=made.name)))
    assert gone.code is grpc.StatusCode.NOT_FOUND


async def test_a_request_id_answers_once(labeler: Labeler) -> None:
    request = labeler_pb2.CreateDatasetRequest(
        parent="brands/acme", dataset_id="once", request_id=str(uuid.uuid4())
    )
    first = await labeler.stub.CreateDataset(request)
    assert await labeler.stub.CreateDataset(request) == first
    request.dataset_id = "twice"
    refusal = await refused(labeler.stub.CreateDataset(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_unknown_fields_of_a_mask_are_named(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    request = labeler_pb2.UpdateDatasetRequest(
        dataset=resources_pb2.Dataset(name=parent), update_mask=FieldMask(paths=["image_count"])
    )
    assert list((await refused(labeler.stub.UpdateDataset(request))).fields) == ["update_mask"]


async def test_datasets_of_a_brand_in_pages(labeler: Labeler) -> None:
    names = [await labeler.dataset("pages") for _ in range(5)]
    request = labeler_pb2.ListDatasetsRequest(parent="brands/pages", page_size=2, order_by="create_time")
    seen = []
    while True:
        page = await labeler.stub.ListDatasets(request)
        seen += [dataset.name for dataset in page.datasets]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert seen == names
    request = labeler_pb2.ListDatasetsRequest(parent="brands/pages", filter=f'name = "{names[3]}"')
    assert [dataset.name for dataset in (await labeler.stub.ListDatasets(request)).datasets] == [names[3]]


async def test_pictures_by_filter_and_order(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {f"{n}.png": png(n, 40 + n, 40) for n in range(5)})
    images = await labeler.images(parent)
    await labeler.caption(images[1].name, "a red hat")
    await labeler.stub.UpdateImage(
        labeler_pb2.UpdateImageRequest(
            image=resources_pb2.Image(
                name=images[2].name, tags=["front", "front", "studio"], split="validation"
            )
        )
    )

    async def found(condition: str, order_by: str = "") -> list[str]:
        return [image.source_name for image in await labeler.images(parent, condition, order_by=order_by)]

    assert await found('caption:"RED"') == ["1.png"]
    assert await found("red") == ["1.png"]
    assert await found("caption_source = CAPTION_SOURCE_REVIEWER") == ["1.png"]
    assert await found('caption = "" AND NOT tags:studio') == ["0.png", "3.png", "4.png"]
    assert await found("split = validation") == ["2.png"]
    assert await found("width >= 43 AND excluded = false", "width desc") == ["4.png", "3.png"]
    assert await found('source_name = "3*"') == ["3.png"]
    for condition in ("nonsense = 1", "width = wide", "flags:SHINY", "(width"):
        assert list((await refused(labeler.images(parent, condition))).fields) == ["filter"]
    assert list((await refused(labeler.images(parent, "", order_by="tags"))).fields) == ["order_by"]


async def test_a_page_token_belongs_to_its_query(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {f"{n}.png": png(n) for n in range(3)})
    request = labeler_pb2.ListImagesRequest(parent=parent, page_size=2)
    token = (await labeler.stub.ListImages(request)).next_page_token
    rest = await labeler.images(parent, page_token=token)
    assert [image.source_name for image in rest] == ["2.png"]
    assert list((await refused(labeler.images(parent, "width > 1", page_token=token))).fields) == [
        "page_token"
    ]


async def test_what_a_reviewer_sets_on_a_picture(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    good, bad = await labeler.upload(parent, {"a.png": png(1), "b.png": b"bad"})

    async def update(image: str, paths: list[str], **fields: object) -> resources_pb2.Image:
        sent = resources_pb2.Image(name=image, **fields)
        mask = FieldMask(paths=paths)
        return await labeler.stub.UpdateImage(labeler_pb2.UpdateImageRequest(image=sent, update_mask=mask))

    changed = await update(good.image, ["excluded"], excluded=True)
    assert changed.excluded and changed.split == "train"
    assert (await update(good.image, ["excluded", "tags"], tags=["x"])).excluded is False
    assert list((await refused(update(good.image, ["split"], split="test"))).fields) == ["image.split"]
    assert list((await refused(update(good.image, ["caption"], caption="c"))).fields) == ["update_mask"]
    assert list((await refused(update(bad.image, ["excluded"]))).fields) == ["image.excluded"]
    long = await refused(update(good.image, ["tags"], tags=["y", "y" * 101]))
    assert list(long.fields) == ["image.tags[1]"]
    many = await refused(update(good.image, ["tags"], tags=[str(number) for number in range(65)]))
    assert list(many.fields) == ["image.tags"]
    stale = update(good.image, ["tags"], tags=["y"], etag="stale")
    assert (await refused(stale)).code is grpc.StatusCode.ABORTED


@pytest.mark.parametrize(
    "name",
    ["nonsense", "brands/acme/datasets/x", "brands/a/datasets/b/images/../c", "brands/a/datasets/b/images/"],
)
async def test_names_that_are_none(labeler: Labeler, name: str) -> None:
    refusal = await refused(labeler.stub.GetImage(labeler_pb2.GetImageRequest(name=name)))
    assert (refusal.code, list(refusal.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


async def test_texts_that_no_database_keeps(labeler: Labeler) -> None:
    request = labeler_pb2.CreateDatasetRequest(
        parent="brands/acme", dataset_id="nul", dataset=resources_pb2.Dataset(display_name="a\0b")
    )
    assert list((await refused(labeler.stub.CreateDataset(request))).fields) == ["dataset.display_name"]
    assert list((await refused(labeler.images("brands/acme/datasets/x", "a\0"))).fields) == ["filter"]


class OneBrand:
    """Everybody may use the brand `mine` alone."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        return Principal(subject="guest", brands=frozenset({"mine"}))


async def test_the_brand_is_asked_about_before_anything_else(tmp_path: Path) -> None:
    async with running_labeler(tmp_path, authenticator=OneBrand()) as labeler:
        own = await labeler.dataset("mine")
        stub, other = labeler.stub, "brands/theirs/datasets/x"
        image, job, text = f"{other}/images/0", f"{other}/labelJobs/0", f"{other}/texts/0"
        message = labeler_pb2
        calls = [
            labeler.dataset("theirs"),
            stub.GetDataset(message.GetDatasetRequest(name=other)),
            stub.ListDatasets(message.ListDatasetsRequest(parent="brands/theirs")),
            stub.UpdateDataset(message.UpdateDatasetRequest(dataset=resources_pb2.Dataset(name=other))),
            stub.DeleteDataset(message.DeleteDatasetRequest(name=other)),
            labeler.upload(other, {"a.png": b"x"}),
            labeler.images(other, "this is no filter ("),
            stub.GetImage(message.GetImageRequest(name=image)),
            _all(stub.DownloadImage(message.DownloadImageRequest(name=image))),
            stub.UpdateImage(message.UpdateImageRequest(image=resources_pb2.Image(name=image, split="no"))),
            stub.DeleteImage(message.DeleteImageRequest(name=image)),
            labeler.caption(image, "a\0"),
            stub.BatchUpdateCaptions(message.BatchUpdateCaptionsRequest(parent=other, prefix="x")),
            labeler.upload_texts(other, b"nonsense"),
            labeler.texts(other),
            stub.GetText(message.GetTextRequest(name=text)),
            stub.UpdateText(message.UpdateTextRequest(text=resources_pb2.Text(name=text, split="no"))),
            stub.DeleteText(message.DeleteTextRequest(name=text)),
            labeler.create_job(other),
            stub.GetLabelJob(message.GetLabelJobRequest(name=job)),
            stub.ListLabelJobs(message.ListLabelJobsRequest(parent=other)),
            stub.CancelLabelJob(message.CancelLabelJobRequest(name=job)),
            labeler.watch(job),
            labeler.seal(other),
            stub.GetDatasetRevision(message.GetDatasetRevisionRequest(name=f"{other}/revisions/1")),
            stub.ListDatasetRevisions(message.ListDatasetRevisionsRequest(parent=other)),
            labeler.import_captions(other, b"nonsense"),
            labeler.export(other),
        ]
        codes = [(await refused(call)).code for call in calls]
        assert codes == [grpc.StatusCode.PERMISSION_DENIED] * len(calls)
        assert len(calls) == len(labeler_pb2.DESCRIPTOR.services_by_name["LabelerService"].methods)
        assert (await stub.GetDataset(message.GetDatasetRequest(name=own))).name == own


async def _all(stream: object) -> list:
    return [item async for item in stream]
