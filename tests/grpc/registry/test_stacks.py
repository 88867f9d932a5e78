"""ResolveStack, GetLineage and WatchChanges."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import resources_pb2
from tests.grpc.registry.harness import SDXL, Registry, refused, running_registry
from tests.grpc.registry.lora_files import kohya_file


async def resolve(registry: Registry, *references: str, base_model: str = "") -> pb.ResolveStackResponse:
    return await registry.stub.ResolveStack(
        pb.ResolveStackRequest(parent="brands/acme", references=references, base_model=base_model)
    )


async def test_references_mean_versions(registry: Registry) -> None:
    await registry.brand("acme")
    await registry.brand("globex")
    for seed in (1, 2, 3):
        await registry.upload(kohya_file(seed=seed))
    await registry.upload(kohya_file(), "brands/globex/loras/city")
    hero = "brands/acme/loras/hero"

    async def meant(*references: str) -> list[str]:
        answer = await resolve(registry, *references)
        assert [lora.reference for lora in answer.loras] == list(references)
        return [lora.version.removeprefix("brands/") for lora in answer.loras]

    assert await meant("hero") == ["acme/loras/hero/versions/3"]
    await registry.stub.SetAlias(pb.SetAliasRequest(lora=hero, alias="prod", version=1))
    await registry.stub.SetAlias(pb.SetAliasRequest(lora=hero, alias="beta", version=2))
    assert await meant(
        "hero",
        "hero@beta",
        "hero@3",
        "hero@latest",
        "globex/city",
        f"{hero}@beta",
        f"{hero}/versions/3",
        hero,
    ) == [
        "acme/loras/hero/versions/1",
        "acme/loras/hero/versions/2",
        "acme/loras/hero/versions/3",
        "acme/loras/hero/versions/3",
        "globex/loras/city/versions/1",
        "acme/loras/hero/versions/2",
        "acme/loras/hero/versions/3",
        "acme/loras/hero/versions/1",
    ]
    answer = await resolve(registry, "hero")
    assert (answer.loras[0].rank, list(answer.loras[0].components)) == (4, ["text_encoder", "unet"])
    assert await meant() == []


async def test_every_bad_reference_is_told_at_once(registry: Registry) -> None:
    await registry.brand()
    await registry.base("tiny")
    await registry.base("large", family=SDXL, sha256="c" * 64)
    await registry.base("other", sha256="d" * 64)
    await registry.upload(kohya_file(), version=resources_pb2.LoraVersion(base_model="baseModels/tiny"))
    await registry.upload(kohya_file(), "brands/acme/loras/free")
    await registry.stub.CreateLora(pb.CreateLoraRequest(parent="brands/acme", lora_id="empty"))

    answer = await refused(
        resolve(
            registry, "hero", "Hero!", "nobody", "hero@7", "hero@beta", "empty", base_model="baseModels/other"
        )
    )
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "STACK_INVALID")
    assert sorted(answer.fields) == [f"references[{index}]" for index in range(6)]
    assert "was trained on baseModels/tiny" in answer.fields["references[0]"]
    assert "'beta'" in answer.fields["references[4]"]

    unknown = await refused(resolve(registry, "hero", "nobody", "noone"))
    assert unknown.reason == "LORA_NOT_FOUND"
    assert sorted(unknown.fields) == ["references[1]", "references[2]"]
    family = await refused(resolve(registry, "hero", "free", base_model="baseModels/large"))
    assert family.reason == "FAMILY_MISMATCH"
    base = await refused(resolve(registry, "hero", "free", base_model="baseModels/other"))
    assert (base.reason, list(base.fields)) == ("BASE_MISMATCH", ["references[0]"])
    fits = await resolve(registry, "hero", "free", base_model="baseModels/tiny")
    assert fits.base_model.sha256 == "b" * 64
    missing = await refused(resolve(registry, "hero", base_model="baseModels/nothing"))
    assert missing.code is grpc.StatusCode.NOT_FOUND


async def test_lineage_is_walked_both_ways(registry: Registry) -> None:
    await registry.brand()
    await registry.base()
    names = []
    for seed in range(1, 6):
        origin = resources_pb2.LoraOrigin(
            training_job=f"brands/acme/trainingJobs/job{seed}",
            dataset_revision=f"brands/acme/datasets/hero/revisions/{seed}",
            dataset_sha256=str(seed) * 64,
            parent_version=names[0 if seed == 5 else -1] if names else "",
        )
        version = resources_pb2.LoraVersion(base_model="baseModels/tiny", origin=origin)
        made = await registry.upload(kohya_file(seed=seed), version=version)
        names.append(made.name)
    walked = await registry.stub.GetLineage(pb.GetLineageRequest(name=names[1]))
    versions = {node.name for node in walked.nodes if node.kind == pb.LineageNode.KIND_LORA_VERSION}
    assert versions == set(
        names[:4]
    )  # 1 -> 2 -> 3 -> 4; 5 is 1's other child, no ancestor or descendant of 2
    assert not walked.truncated
    parents = {(getattr(edge, "from"), edge.to) for edge in walked.edges if edge.relation == "parent"}
    assert parents == {(names[0], names[1]), (names[1], names[2]), (names[2], names[3])}
    data = next(node for node in walked.nodes if node.name.endswith("/revisions/2"))
    assert (data.kind, data.sha256) == (pb.LineageNode.KIND_DATASET_REVISION, "2" * 64)
    bases = [node for node in walked.nodes if node.kind == pb.LineageNode.KIND_BASE_MODEL]
    assert [node.name for node in bases] == ["baseModels/tiny"]
    nearby = await registry.stub.GetLineage(pb.GetLineageRequest(name=names[1], depth=1))
    assert nearby.truncated
    versions = {node.name for node in nearby.nodes if node.kind == pb.LineageNode.KIND_LORA_VERSION}
    assert versions == set(names[:3])


async def take(call: object, count: int) -> list[pb.Change]:
    return [await asyncio.wait_for(call.read(), 10) for _ in range(count)]  # type: ignore[attr-defined]


async def test_changes_are_replayed_and_then_live(
    registry: Registry, tmp_path: Path, database_url: str
) -> None:
    await registry.brand("acme")
    await registry.brand("globex")
    await registry.upload(kohya_file())
    watch = registry.stub.WatchChanges(pb.WatchChangesRequest(parent="brands/acme"))
    kinds = [change.kind for change in await take(watch, 2)]
    assert kinds == [pb.Change.KIND_LORA_CREATED, pb.Change.KIND_VERSION_ADDED]
    fresh = registry.stub.WatchChanges(pb.WatchChangesRequest(after_sequence=-1))
    await fresh.initial_metadata()

    async with running_registry(tmp_path, database_url) as replica:
        begun = time.monotonic()
        await replica.stub.SetAlias(
            pb.SetAliasRequest(lora="brands/acme/loras/hero", alias="prod", version=1)
        )
        (here,) = await take(watch, 1)
        assert time.monotonic() - begun < 2.0
        assert (here.kind, here.alias, here.version) == (pb.Change.KIND_ALIAS_SET, "prod", 1)
        assert (await take(fresh, 1))[0] == here
        # The other brand's change is not for the watcher of this one, who stays right afterwards.
        await replica.upload(kohya_file(), "brands/globex/loras/city")
        await registry.stub.DeleteLora(pb.DeleteLoraRequest(name="brands/acme/loras/hero", force=True))
        (deleted,) = await take(watch, 1)
        assert deleted.kind == pb.Change.KIND_LORA_DELETED
        assert [change.lora for change in await take(fresh, 3)] == [
            "brands/globex/loras/city",
            "brands/globex/loras/city",
            "brands/acme/loras/hero",
        ]
        resumed = replica.stub.WatchChanges(pb.WatchChangesRequest(after_sequence=here.sequence))
        assert [change.sequence for change in await take(resumed, 3)] == [
            here.sequence + 1,
            here.sequence + 2,
            here.sequence + 3,
        ]
        resumed.cancel()
    watch.cancel()
    fresh.cancel()


async def test_changes_of_brands_and_base_models_are_told(registry: Registry) -> None:
    watches = []
    for brand in ("acme", "globex"):
        await registry.brand(brand)
    for parent in ("brands/acme", "brands/globex"):
        watches.append(registry.stub.WatchChanges(pb.WatchChangesRequest(parent=parent, after_sequence=-1)))
        await watches[-1].initial_metadata()
    await registry.base("tiny")
    moved = resources_pb2.BaseModel(name="baseModels/tiny", source="/elsewhere")
    await registry.stub.UpdateBaseModel(
        pb.UpdateBaseModelRequest(base_model=moved, update_mask=FieldMask(paths=["source"]))
    )
    await registry.stub.DeleteBaseModel(pb.DeleteBaseModelRequest(name="baseModels/tiny"))
    await registry.stub.DeleteBrand(pb.DeleteBrandRequest(name="brands/globex"))
    of_bases = [
        (pb.Change.KIND_BASE_MODEL_UPDATED, "baseModels/tiny"),
        (pb.Change.KIND_BASE_MODEL_DELETED, "baseModels/tiny"),
    ]
    of_globex = (pb.Change.KIND_BRAND_DELETED, "brands/globex")
    for watch, wanted in zip(watches, (of_bases, [*of_bases, of_globex]), strict=True):
        told = await take(watch, len(wanted))
        assert [(change.kind, change.resource) for change in told] == wanted
        assert {change.lora for change in told} == {""}
        watch.cancel()


async def test_a_stopping_server_ends_its_watches(tmp_path: Path) -> None:
    async with running_registry(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/registry.db") as running:
        watch = running.stub.WatchChanges(pb.WatchChangesRequest(after_sequence=-1))
        await watch.initial_metadata()
        begun = time.monotonic()
        await running.server.stop(10)
        assert time.monotonic() - begun < 5
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watch.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_restored_database_ends_the_watches(tmp_path: Path) -> None:
    """Its numbers begin again further back: who went on waiting for larger ones would miss changes."""
    file = tmp_path / "registry.db"
    async with running_registry(tmp_path, f"sqlite+aiosqlite:///{file}") as running:
        await running.brand("acme")
        await running.upload(kohya_file())
        watch = running.stub.WatchChanges(pb.WatchChangesRequest())
        await take(watch, 2)
        with closing(sqlite3.connect(file)) as database:
            database.execute("DELETE FROM changes WHERE sequence > 1")
            database.execute("UPDATE change_counter SET value = 1")
            database.commit()
        assert await asyncio.wait_for(watch.read(), 10) is grpc.aio.EOF
        again = running.stub.WatchChanges(pb.WatchChangesRequest())
        assert len(await take(again, 1)) == 1
        again.cancel()
