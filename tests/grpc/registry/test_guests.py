"""What somebody may do who may use one brand and administers nothing."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import registry_pb2_grpc, resources_pb2
from servicekit.channels import open_channel
from tests.fakes.identities import GUEST_TOKEN
from tests.grpc.registry.harness import Registry, refused
from tests.grpc.registry.lora_files import kohya_file

DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
async def guest(embedded: Registry) -> AsyncIterator[Registry]:
    """The registry as the guest of `acme` sees it."""
    await embedded.brand()
    await embedded.base()
    async with open_channel(f"127.0.0.1:{embedded.port}", token=GUEST_TOKEN) as channel:
        yield replace(embedded, stub=registry_pb2_grpc.RegistryServiceStub(channel))


async def test_a_file_of_the_store_cannot_be_had_by_its_digest(embedded: Registry, guest: Registry) -> None:
    await embedded.brand("globex")
    secret = (await embedded.upload(kohya_file(), "brands/globex/loras/city")).artifact
    for artifact in (secret, resources_pb2.LoraVersion().artifact):  # whether there is such a file or not
        answer = await refused(guest.register(artifact))
        assert (answer.code, answer.reason) == (DENIED, "ADMINISTRATOR_REQUIRED")
        assert not answer.fields
    assert (await embedded.register(secret)).name == "brands/acme/loras/hero/versions/1"


@pytest.mark.parametrize("field", ["training_seconds", "images_per_second"])
async def test_nor_can_a_figure_be_said_that_no_reader_can_show(guest: Registry, field: str) -> None:
    version = resources_pb2.LoraVersion()
    setattr(version.origin, field, 1e300)
    answer = await refused(guest.upload(kohya_file(), version=version))
    assert list(answer.fields) == [f"header.version.origin.{field}"]


async def test_nor_shown_as_a_preview(embedded: Registry, guest: Registry) -> None:
    preview = await embedded.store.put_bytes(b"a picture of another brand")
    shown = resources_pb2.LoraVersion()
    shown.previews.add(sha256=preview.sha256, size_bytes=preview.size_bytes)
    sheet, plot = resources_pb2.LoraVersion(), resources_pb2.LoraVersion()
    sheet.origin.preview_sheet.sha256 = plot.origin.loss_plot.sha256 = preview.sha256
    data = kohya_file()
    for version in (shown, sheet, plot):
        answer = await refused(guest.upload(data, version=version))
        assert (answer.code, answer.reason) == (DENIED, "ADMINISTRATOR_REQUIRED")
    assert await embedded.store.stat(hashlib.sha256(data).hexdigest()) is None
    assert (await guest.upload(data)).version == 1


async def test_where_base_models_lie_is_not_told(embedded: Registry, guest: Registry) -> None:
    get = pb.GetBaseModelRequest(name="baseModels/tiny")
    assert (await embedded.stub.GetBaseModel(get)).source
    resolve = pb.ResolveStackRequest(parent="brands/acme", base_model="baseModels/tiny")
    shown = [
        await guest.stub.GetBaseModel(get),
        *(await guest.stub.ListBaseModels(pb.ListBaseModelsRequest())).base_models,
        (await guest.stub.ResolveStack(resolve)).base_model,
    ]
    assert [(base.name, base.source) for base in shown] == [("baseModels/tiny", "")] * 3
    assert (await embedded.stub.ResolveStack(resolve)).base_model.source
    search = pb.ListBaseModelsRequest(filter='source = "demo/models/tiny"')
    assert (await refused(guest.stub.ListBaseModels(search))).code is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_the_administrators_is_refused_before_it_is_read(guest: Registry) -> None:
    for call in (
        guest.stub.CreateBrand(pb.CreateBrandRequest(brand_id="Not An Id")),
        guest.stub.DeleteBrand(pb.DeleteBrandRequest(name="brands/acme")),
        guest.stub.CreateBaseModel(pb.CreateBaseModelRequest(base_model_id="-")),
        guest.stub.UpdateBaseModel(pb.UpdateBaseModelRequest()),
        guest.stub.DeleteBaseModel(pb.DeleteBaseModelRequest(name="?")),
        guest.stub.RegisterVersion(pb.RegisterVersionRequest(parent="brands/acme/loras/?")),
    ):
        answer = await refused(call)
        assert (answer.code, answer.reason, answer.fields) == (DENIED, "ADMINISTRATOR_REQUIRED", {})
    theirs = await refused(guest.stub.GetBrand(pb.GetBrandRequest(name="brands/globex/x")))
    assert (theirs.code, theirs.reason, theirs.fields) == (DENIED, "BRAND_FORBIDDEN", {})
