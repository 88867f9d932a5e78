"""Beginnings, previews, the safety checker and signatures over the wire, with a service and an engine that
are configured for all of them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator

import grpc.aio
import numpy as np
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from brandloom.api.inference.v1 import inference_pb2
from lorakit.picture_metadata import parse_record, read_png
from tests.fixtures.pictures import encoded, noise, pixels
from tests.fixtures.signing_certificates import SigningFiles, write_signing_files
from tests.fixtures.tiny_safety import ALIKE, save_tiny_checker
from tests.grpc.inference.harness import Inference, running_inference
from tests.unit.inference.test_picture_signing import manifest_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIDE = 16
UNWANTED = noise(9, SIDE, SIDE)
CORNER = np.zeros((SIDE, SIDE), dtype=np.uint8)
CORNER[0, 0] = 255


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SigningFiles:
    return write_signing_files(tmp_path_factory.mktemp("signing"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inference(
    tmp_path_factory: pytest.TempPathFactory, files: SigningFiles
) -> AsyncIterator[Inference]:
    home = tmp_path_factory.mktemp("inference")
    checker = save_tiny_checker(home / "checker", threshold=ALIKE, unwanted=UNWANTED)
    async with running_inference(
        home, BRANDLOOM_INFERENCE_SAFETY_CHECKER=str(checker), **files.environment
    ) as running:
        yield running


def initial(picture: Image.Image, mask: np.ndarray, strength: float) -> inference_pb2.InitialImage:
    return inference_pb2.InitialImage(
        image=encoded(picture), strength=strength, mask_png=encoded(Image.fromarray(mask))
    )


async def test_a_picture_is_changed_in_part_signed_and_told_of(
    inference: Inference, files: SigningFiles
) -> None:
    picture = noise(4, SIDE, SIDE)
    mask = np.repeat(np.where(np.arange(SIDE) < 8, 0, 255).astype(np.uint8)[None], SIDE, 0)
    answer = await inference.generate(
        prompt="<lora:hero@prod:0.7> a fox", steps=4, initial_image=initial(picture, mask, 0.5)
    )
    (image,) = answer.images
    assert (answer.progress[-1].step, answer.progress[-1].total_steps) == (2, 2)
    assert np.array_equal(pixels(image.png)[:, :8], np.asarray(picture)[:, :8])
    assert image.sha256 == hashlib.sha256(image.png).hexdigest()
    state, manifest = manifest_of(image.png, files.authority)
    assert state == "Trusted"
    made_from = next(
        entry["data"] for entry in manifest["assertions"] if entry["label"] == "org.brandloom.generation"
    )
    assert [lora["sha256"] for lora in made_from["loras"]] == [used.sha256 for used in answer.queued.stack]
    record = parse_record(read_png(image.png)["brandloom"])
    assert record["initial_image_sha256"] == made_from["initial_image_sha256"]
    assert "compositeWithTrainedAlgorithmicMedia" in read_png(image.png)["XML:com.adobe.xmp"]


async def test_the_sheet_of_a_sweep_is_signed_as_its_cells_are(
    inference: Inference, files: SigningFiles
) -> None:
    template = inference_pb2.GenerateImagesRequest(parent="brands/acme", steps=2)
    request = inference_pb2.GenerateSweepRequest(
        template=template, prompts=["a fox <lora:hero:0.7>"], seeds=[7, 8]
    )
    messages = [message async for message in inference.stub.GenerateSweep(request)]
    state, manifest = manifest_of(messages[-1].sheet_png, files.authority)
    assert state == "Trusted"
    made_from = next(
        entry["data"] for entry in manifest["assertions"] if entry["label"] == "org.brandloom.generation"
    )
    assert [lora["sha256"] for lora in made_from["loras"]] == [
        used.sha256 for used in messages[0].queued.stack
    ]


async def test_previews_come_before_their_picture(inference: Inference) -> None:
    messages = (await inference.generate(steps=4, count=2, preview_every=2)).messages
    kinds = [message.WhichOneof("message") for message in messages]
    assert "preview" in kinds
    for message in messages:
        if message.HasField("preview"):
            preview = message.preview
            assert preview.step in {2, 4}
            assert Image.open(io.BytesIO(preview.png)).size == (preview.width, preview.height) == (128, 128)


async def test_a_flagged_picture_is_withheld_and_counted(inference: Inference) -> None:
    # One pixel of it is made anew.
    answer = await inference.generate(initial_image=initial(UNWANTED, CORNER, 0.4))
    (image,) = answer.images
    assert (image.withheld, image.png, image.sha256) == (True, b"", "")
    metrics = inference.app.metrics.registry
    assert metrics.get_sample_value("brandloom_inference_pictures_withheld_total", {"brand": "acme"}) == 1.0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (inference_pb2.InitialImage(image=b"no picture"), "initial_image.image"),
        (
            inference_pb2.InitialImage(image=encoded(UNWANTED), mask_png=b"no mask"),
            "initial_image.mask_png",
        ),
        (inference_pb2.InitialImage(image=encoded(UNWANTED), strength=0.1), "initial_image.strength"),
    ],
    ids=["image", "mask", "strength"],
)
async def test_faults_name_their_fields(
    inference: Inference, given: inference_pb2.InitialImage, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await inference.generate(initial_image=given)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert faulty_fields(caught.value) == [field]


async def test_a_faulty_mask_of_a_region_names_the_entry_that_it_belongs_to(inference: Inference) -> None:
    region = inference_pb2.Region(mask_png=b"no mask")
    stack = [
        inference_pb2.StackEntry(reference="neon"),
        inference_pb2.StackEntry(reference="hero", region=region),
    ]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await inference.generate(prompt="<lora:hero:0.4> <lora:neon:0.1> a fox", stack=stack)
    assert faulty_fields(caught.value) == ["stack[1].region.mask_png"]


def faulty_fields(error: grpc.aio.AioRpcError) -> list[str]:
    status = rpc_status.from_call(error)
    assert status is not None
    request = error_details_pb2.BadRequest()
    assert any(detail.Unpack(request) for detail in status.details)
    return [violation.field for violation in request.field_violations]
