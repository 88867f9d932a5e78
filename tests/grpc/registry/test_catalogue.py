"""Brands, base models and LoRAs: standard methods, etags, request ids, filters, pages."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import resources_pb2
from tests.grpc.registry.harness import BASE_SHA256, SDXL, Registry, names_of, new_request_id, refused
from tests.grpc.registry.lora_files import kohya_file


async def test_a_brand_is_made_described_and_removed(registry: Registry) -> None:
    stub = registry.stub
    made = await stub.CreateBrand(
        pb.CreateBrandRequest(
            brand_id="acme", brand=resources_pb2.Brand(display_name="Acme", labels={"team": "design"})
        )
    )
    assert made.name == "brands/acme"
    assert await stub.GetBrand(pb.GetBrandRequest(name="brands/acme")) == made
    again = await refused(registry.brand("acme"))
    assert (again.code, again.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")

    changed = await stub.UpdateBrand(
        pb.UpdateBrandRequest(
            brand=resources_pb2.Brand(name="brands/acme", description="Rockets", etag=made.etag)
        )
    )
    assert (changed.display_name, changed.description) == ("Acme", "Rockets")
    assert changed.etag != made.etag
    found = await stub.ListBrands(pb.ListBrandsRequest(filter="labels.team = design AND labels:team"))
    assert names_of(found.brands) == ["acme"]
    strange = await stub.ListBrands(pb.ListBrandsRequest(filter="labels:'te\"am'"))
    assert not strange.brands
    stale = await refused(stub.DeleteBrand(pb.DeleteBrandRequest(name="brands/acme", etag=made.etag)))
    assert (stale.code, stale.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    await stub.DeleteBrand(pb.DeleteBrandRequest(name="brands/acme", etag=changed.etag))
    gone = await refused(stub.GetBrand(pb.GetBrandRequest(name="brands/acme")))
    assert gone.code is grpc.StatusCode.NOT_FOUND


async def test_a_mask_clears_what_it_names_and_refuses_the_rest(registry: Registry) -> None:
    await registry.brand()
    lora = resources_pb2.Lora(description="words", tags=["a"])
    await registry.stub.CreateLora(pb.CreateLoraRequest(parent="brands/acme", lora_id="hero", lora=lora))
    target = resources_pb2.Lora(name="brands/acme/loras/hero", display_name="Hero")
    cleared = await registry.stub.UpdateLora(
        pb.UpdateLoraRequest(lora=target, update_mask=FieldMask(paths=["*"]))
    )
    assert (cleared.display_name, cleared.description, list(cleared.tags)) == ("Hero", "", [])
    wrong = await refused(
        registry.stub.UpdateLora(pb.UpdateLoraRequest(lora=target, update_mask=FieldMask(paths=["aliases"])))
    )
    assert wrong.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "aliases" in wrong.fields["update_mask"]


async def test_a_brand_with_loras_stays(registry: Registry) -> None:
    await registry.brand()
    await registry.stub.CreateLora(pb.CreateLoraRequest(parent="brands/acme", lora_id="hero"))
    kept = await refused(registry.stub.DeleteBrand(pb.DeleteBrandRequest(name="brands/acme")))
    assert (kept.code, kept.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BRAND_NOT_EMPTY")


async def test_family_and_digest_of_a_base_model_never_change(registry: Registry) -> None:
    base = await registry.base()
    base.source = "s3://models/tiny"
    moved = await registry.stub.UpdateBaseModel(pb.UpdateBaseModelRequest(base_model=base))
    assert moved.source == "s3://models/tiny"
    moved.family, moved.sha256, moved.etag = SDXL, BASE_SHA256, ""
    other = await refused(registry.stub.UpdateBaseModel(pb.UpdateBaseModelRequest(base_model=moved)))
    assert (other.reason, list(other.fields)) == ("IMMUTABLE_FIELD", ["base_model.family"])
    found = await registry.stub.ListBaseModels(pb.ListBaseModelsRequest(filter="family = SD15"))
    assert names_of(found.base_models) == ["tiny"]


async def test_a_base_model_in_use_stays(registry: Registry) -> None:
    await registry.brand()
    await registry.base()
    await registry.upload(kohya_file(), version=resources_pb2.LoraVersion(base_model="baseModels/tiny"))
    used = await refused(registry.stub.DeleteBaseModel(pb.DeleteBaseModelRequest(name="baseModels/tiny")))
    assert (used.code, used.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BASE_MODEL_IN_USE")
    await registry.stub.DeleteLora(pb.DeleteLoraRequest(name="brands/acme/loras/hero", force=True))
    await registry.stub.DeleteBaseModel(pb.DeleteBaseModelRequest(name="baseModels/tiny"))


async def test_a_repeated_request_gets_the_first_answer(registry: Registry) -> None:
    await registry.brand()
    request = pb.CreateLoraRequest(parent="brands/acme", lora_id="hero", request_id=new_request_id())
    first, *others = await asyncio.gather(*(registry.stub.CreateLora(request) for _ in range(5)))
    assert all(other == first for other in others)
    request.lora_id = "villain"
    other = await refused(registry.stub.CreateLora(request))
    assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_loras_are_listed_by_filter_order_and_page(registry: Registry) -> None:
    await registry.brand()
    for index in range(7):
        lora = resources_pb2.Lora(display_name=f"Number {index}", tags=["even" if index % 2 == 0 else "odd"])
        await registry.stub.CreateLora(
            pb.CreateLoraRequest(parent="brands/acme", lora_id=f"n{index}", lora=lora)
        )
    await registry.upload(kohya_file(), "brands/acme/loras/n4")
    await registry.stub.SetAlias(pb.SetAliasRequest(lora="brands/acme/loras/n4", alias="prod", version=1))

    async def listed(**request: object) -> list[str]:
        answer = await registry.stub.ListLoras(pb.ListLorasRequest(parent="brands/acme", **request))
        return names_of(answer.loras)

    assert await listed() == [f"n{index}" for index in range(7)]
    assert await listed(filter="tags:odd", order_by="create_time desc") == ["n5", "n3", "n1"]
    assert await listed(filter="latest_version > 0") == ["n4"]
    assert await listed(filter="aliases:prod AND family = SD15") == ["n4"]
    assert await listed(filter="aliases.prod = 1") == ["n4"]
    assert await listed(filter='display_name:"number 3" OR name = brands/acme/loras/n0') == ["n0", "n3"]

    pages, token = [], ""
    while True:
        answer = await registry.stub.ListLoras(
            pb.ListLorasRequest(
                parent="brands/acme", page_size=3, page_token=token, order_by="create_time desc"
            )
        )
        pages.append(names_of(answer.loras))
        token = answer.next_page_token
        if not token:
            break
    assert pages == [["n6", "n5", "n4"], ["n3", "n2", "n1"], ["n0"]]

    bad = await refused(
        registry.stub.ListLoras(pb.ListLorasRequest(parent="brands/acme", filter="colour = red"))
    )
    assert "colour" in bad.fields["filter"]


async def test_a_page_fits_into_one_message(embedded: Registry) -> None:
    await embedded.brand()
    long = "\u6f22" * 4000
    for index in range(320):
        lora = resources_pb2.Lora(description=long)
        await embedded.stub.CreateLora(
            pb.CreateLoraRequest(parent="brands/acme", lora_id=f"n{index:03}", lora=lora)
        )
    names, token = [], ""
    while True:
        answer = await embedded.stub.ListLoras(
            pb.ListLorasRequest(parent="brands/acme", page_size=1000, page_token=token)
        )
        names += names_of(answer.loras)
        token = answer.next_page_token
        if not token:
            break
    assert names == [f"n{index:03}" for index in range(320)]


async def test_words_are_found_wherever_they_stand(registry: Registry) -> None:
    await registry.brand("acme")
    await registry.brand("globex")
    lora = resources_pb2.Lora(display_name="Neon City", description="Streets at night")
    await registry.stub.CreateLora(pb.CreateLoraRequest(parent="brands/acme", lora_id="streets", lora=lora))
    await registry.upload(
        kohya_file(),
        "brands/globex/loras/rider",
        version=resources_pb2.LoraVersion(trigger_words=["neonrider"]),
    )

    async def found(query: str, **request: object) -> list[str]:
        answer = await registry.stub.SearchLoras(pb.SearchLorasRequest(query=query, **request))
        return names_of(answer.loras)

    assert await found("NEON") == ["streets", "rider"]
    assert await found("neon night") == ["streets"]
    assert await found("neonr") == ["rider"]
    assert await found("city rider") == []
    assert await found("", filter="latest_version > 0") == ["rider"]


async def test_an_alias_moves_only_from_where_it_was_seen(registry: Registry) -> None:
    await registry.brand()
    await registry.upload(kohya_file(seed=1))
    await registry.upload(kohya_file(seed=2))
    name = "brands/acme/loras/hero"
    seen = await registry.stub.SetAlias(pb.SetAliasRequest(lora=name, alias="prod", version=1))
    moves = [
        registry.stub.SetAlias(pb.SetAliasRequest(lora=name, alias="prod", version=2, etag=seen.etag)),
        registry.stub.DeleteAlias(pb.DeleteAliasRequest(lora=name, alias="prod", etag=seen.etag)),
    ]
    codes = {await _code(move) for move in moves}
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}
    missing = await refused(registry.stub.SetAlias(pb.SetAliasRequest(lora=name, alias="prod", version=9)))
    assert missing.code is grpc.StatusCode.NOT_FOUND
    latest = await refused(registry.stub.SetAlias(pb.SetAliasRequest(lora=name, alias="latest", version=1)))
    assert list(latest.fields) == ["alias"]
    unknown = await refused(registry.stub.DeleteAlias(pb.DeleteAliasRequest(lora=name, alias="beta")))
    assert unknown.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("field", ["description", "display_name"])
async def test_texts_that_no_database_holds_are_refused(registry: Registry, field: str) -> None:
    brand = resources_pb2.Brand(**{field: "a\0b"})
    answer = await refused(registry.stub.CreateBrand(pb.CreateBrandRequest(brand_id="acme", brand=brand)))
    assert list(answer.fields) == [f"brand.{field}"]


async def _code(call: object) -> grpc.StatusCode:
    try:
        await call  # type: ignore[misc]
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
