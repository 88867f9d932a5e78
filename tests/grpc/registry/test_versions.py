"""Registering, reading, listing and downloading versions."""

from __future__ import annotations

import asyncio
import json

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import resources_pb2
from tests.grpc.registry.harness import (
    SDXL,
    Registry,
    names_of,
    new_request_id,
    refused,
)
from tests.grpc.registry.lora_files import kohya_file

HERO = "brands/acme/loras/hero"


async def test_what_the_trainer_says_is_kept(registry: Registry) -> None:
    await registry.brand()
    await registry.base()
    artifact = await registry.store.put_bytes(kohya_file())
    preview = await registry.store.put_bytes(b"a picture")
    version = resources_pb2.LoraVersion(
        base_model="baseModels/tiny",
        trigger_words=["zog"],
        tags=["demo"],
        evaluation={"final_loss": 0.125},
        origin=resources_pb2.LoraOrigin(
            training_job="brands/acme/trainingJobs/0123456789abcdef",
            dataset_revision="brands/acme/datasets/hero/revisions/2",
            dataset_sha256="d" * 64,
            training_spec_json=json.dumps({"rank": 4}),
            environment={"torch": "2.9.0", "device": "cpu"},
            advice=[{"code": "FEW_PICTURES", "field": "dataset_revision", "message": "add some"}],
            parent_sha256="e" * 64,
            prior_dataset_sha256="f" * 64,
            start_time=Timestamp(seconds=1_700_000_000, nanos=1000),
            end_time=Timestamp(seconds=1_700_000_060),
            training_seconds=12.5,
            images_per_second=3.25,
        ),
    )
    sheet, plot = [await registry.store.put_bytes(data) for data in (b"a sheet", b"a plot")]
    for file, stored in ((version.origin.preview_sheet, sheet), (version.origin.loss_plot, plot)):
        file.sha256, file.size_bytes, file.uri = stored.sha256, stored.size_bytes, stored.uri
    version.previews.add(sha256=preview.sha256, size_bytes=preview.size_bytes, media_type="image/png")
    made = await registry.register(artifact, version=version, request_id=new_request_id())
    read = await registry.stub.GetLoraVersion(pb.GetLoraVersionRequest(name=made.name))
    for field in ("origin", "evaluation", "trigger_words", "tags", "base_model"):
        assert getattr(read, field) == getattr(version, field)
    assert read.previews[0].uri == preview.uri
    listed = await registry.stub.ListLoraVersions(pb.ListLoraVersionsRequest(parent=HERO, filter="tags:demo"))
    assert listed.versions[0].origin.training_spec_json == ""
    assert not listed.versions[0].origin.environment
    for file, name, data in (
        (pb.VERSION_FILE_PREVIEW_SHEET, "hero-v1-preview-sheet.png", b"a sheet"),
        (pb.VERSION_FILE_LOSS_PLOT, "hero-v1-loss-plot.png", b"a plot"),
        (pb.VERSION_FILE_PREVIEW, "hero-v1-preview-0.png", b"a picture"),
        (pb.VERSION_FILE_UNSPECIFIED, "hero-v1.safetensors", kohya_file()),
    ):
        request = pb.DownloadVersionRequest(name=made.name, file=file)
        chunks = [chunk async for chunk in registry.stub.DownloadVersion(request)]
        assert (chunks[0].file_name, b"".join(chunk.data for chunk in chunks)) == (name, data)
        assert chunks[0].artifact.size_bytes == len(data)
    assert not listed.versions[0].modules


async def test_a_picture_that_a_version_does_not_have_is_not_found(embedded: Registry) -> None:
    await embedded.brand()
    made = await embedded.upload(kohya_file())
    for file in (pb.VERSION_FILE_PREVIEW_SHEET, pb.VERSION_FILE_LOSS_PLOT, pb.VERSION_FILE_PREVIEW):
        call = embedded.stub.DownloadVersion(pb.DownloadVersionRequest(name=made.name, file=file))
        answer = await refused(call.read())
        assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_FILE_NOT_FOUND")


async def test_faulty_words_about_a_version_are_told_all_at_once(embedded: Registry) -> None:
    await embedded.brand()
    artifact = await embedded.store.put_bytes(kohya_file())
    version = resources_pb2.LoraVersion(
        evaluation={"loss": float("inf")},
        origin=resources_pb2.LoraOrigin(
            training_job="jobs/7", parent_version=f"{HERO}/versions/prod", training_spec_json="{"
        ),
    )
    answer = await refused(embedded.register(artifact, version=version))
    assert sorted(answer.fields) == [
        "version.evaluation['loss']",
        "version.origin.parent_version",
        "version.origin.training_job",
        "version.origin.training_spec_json",
    ]
    long = await refused(
        embedded.register(artifact, version=resources_pb2.LoraVersion(evaluation={"x" * 101: 1}))
    )
    assert [field[:18] for field in long.fields] == ["version.evaluation"]
    unseen = resources_pb2.LoraVersion()
    unseen.previews.add(sha256="f" * 64)
    lost = await refused(embedded.register(artifact, version=unseen))
    assert (lost.reason, list(lost.fields)) == ("PREVIEW_NOT_FOUND", ["version.previews[0]"])
    sheet = resources_pb2.LoraVersion()
    sheet.origin.preview_sheet.sha256 = "f" * 64
    lost = await refused(embedded.register(artifact, version=sheet))
    assert (lost.reason, list(lost.fields)) == ("PREVIEW_NOT_FOUND", ["version.origin.preview_sheet"])
    crowded = resources_pb2.LoraOrigin(environment={"Not A Key": "x"}, training_seconds=-1)
    crowded.start_time.seconds = 10**15
    wrong = await refused(embedded.register(artifact, version=resources_pb2.LoraVersion(origin=crowded)))
    assert sorted(field[:31] for field in wrong.fields)[-1] == "version.origin.training_seconds"
    late = resources_pb2.LoraOrigin()
    late.end_time.seconds = 10**15
    wrong = await refused(embedded.register(artifact, version=resources_pb2.LoraVersion(origin=late)))
    assert list(wrong.fields) == ["version.origin.end_time"]
    bare = await refused(embedded.stub.RegisterVersion(pb.RegisterVersionRequest(parent=HERO, version={})))
    assert list(bare.fields) == ["version.artifact"]
    unknown = resources_pb2.LoraVersion()
    unknown.artifact.sha256 = "e" * 64
    missing = await refused(
        embedded.stub.RegisterVersion(pb.RegisterVersionRequest(parent=HERO, version=unknown))
    )
    assert missing.code is grpc.StatusCode.NOT_FOUND


async def test_a_file_that_rotted_in_the_store_is_not_registered(embedded: Registry) -> None:
    await embedded.brand()
    artifact = await embedded.store.put_bytes(kohya_file())
    path = embedded.store._root / artifact.uri
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    answer = await refused(embedded.register(artifact))
    assert (answer.code, answer.reason) == (grpc.StatusCode.DATA_LOSS, "DIGEST_MISMATCH")


async def test_a_version_must_fit_base_and_lora(registry: Registry) -> None:
    await registry.brand()
    await registry.base("large", family=SDXL, sha256="c" * 64)
    misfit = await refused(
        registry.upload(kohya_file(), version=resources_pb2.LoraVersion(base_model="baseModels/large"))
    )
    assert (misfit.reason, list(misfit.fields)) == ("BASE_MISMATCH", ["version.base_model"])
    await registry.upload(kohya_file())
    other = await refused(registry.upload(kohya_file(context=2048)))
    assert (other.code, other.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FAMILY_MISMATCH")
    lora = await registry.stub.GetLora(pb.GetLoraRequest(name=HERO))
    assert lora.latest_version == 1


async def test_only_words_about_a_version_can_be_corrected(registry: Registry) -> None:
    await registry.brand()
    made = await registry.upload(kohya_file())
    made.description, made.license = "Better words", "MIT"
    corrected = await registry.stub.UpdateLoraVersion(pb.UpdateLoraVersionRequest(version=made))
    assert (corrected.description, corrected.license) == ("Better words", "MIT")
    assert corrected.etag != made.etag
    stale = await refused(registry.stub.UpdateLoraVersion(pb.UpdateLoraVersionRequest(version=made)))
    assert stale.code is grpc.StatusCode.ABORTED
    mask = FieldMask(paths=["rank"])
    fixed = await refused(
        registry.stub.UpdateLoraVersion(pb.UpdateLoraVersionRequest(version=corrected, update_mask=mask))
    )
    assert "rank" in fixed.fields["update_mask"]


async def test_versions_are_listed_by_filter_and_order(registry: Registry) -> None:
    await registry.brand()
    for seed in range(1, 6):
        tags = ["even"] if seed % 2 == 0 else []
        await registry.upload(kohya_file(seed=seed, rank=seed), version=resources_pb2.LoraVersion(tags=tags))
    await registry.stub.SetAlias(pb.SetAliasRequest(lora=HERO, alias="prod", version=3))

    async def listed(**request: object) -> list[str]:
        answer = await registry.stub.ListLoraVersions(pb.ListLoraVersionsRequest(parent=HERO, **request))
        return names_of(answer.versions)

    assert await listed() == ["5", "4", "3", "2", "1"]
    assert await listed(filter="tags:even") == ["4", "2"]
    assert await listed(filter="rank >= 2 AND NOT tags:even", order_by="version") == ["3", "5"]
    assert await listed(order_by="create_time", page_size=2) == ["1", "2"]
    assert await listed(filter="format = KOHYA AND version < 2") == ["1"]
    answer = await registry.stub.GetLoraVersion(pb.GetLoraVersionRequest(name=f"{HERO}/versions/prod"))
    assert (answer.version, list(answer.aliases)) == (3, ["prod"])


async def test_numbers_are_not_used_again_after_a_deletion(registry: Registry) -> None:
    await registry.brand()
    await registry.upload(kohya_file(seed=1))
    await registry.upload(kohya_file(seed=2))
    kept = await refused(registry.stub.DeleteLora(pb.DeleteLoraRequest(name=HERO)))
    assert kept.reason == "LORA_NOT_EMPTY"
    await registry.stub.DeleteLora(pb.DeleteLoraRequest(name=HERO, force=True))
    gone = await refused(registry.stub.GetLoraVersion(pb.GetLoraVersionRequest(name=f"{HERO}/versions/1")))
    assert gone.code is grpc.StatusCode.NOT_FOUND
    made = await registry.upload(kohya_file(seed=3))
    assert made.version == 3


async def test_a_download_is_the_file(embedded: Registry) -> None:
    await embedded.brand()
    data = kohya_file(blocks=40, rank=32)
    await embedded.upload(data)
    call = embedded.stub.DownloadVersion(pb.DownloadVersionRequest(name=f"{HERO}/versions/1"))
    first, *rest = [chunk async for chunk in call]
    assert (first.file_name, first.artifact.size_bytes) == ("hero-v1.safetensors", len(data))
    assert b"".join(chunk.data for chunk in rest) == data
    assert max(len(chunk.data) for chunk in rest) <= 1 << 20
    none = await refused(embedded.stub.GetDownloadUrl(pb.GetDownloadUrlRequest(name=f"{HERO}/versions/1")))
    assert (none.code, none.reason) == (grpc.StatusCode.UNIMPLEMENTED, "PRESIGN_UNSUPPORTED")


async def test_concurrent_registrations_get_gapless_numbers(registry: Registry) -> None:
    await registry.brand()
    artifacts = [await registry.store.put_bytes(kohya_file(seed=seed)) for seed in range(1, 9)]
    ids = [new_request_id() for _ in artifacts]
    calls = [
        registry.register(artifact, request_id=request_id)
        for artifact, request_id in zip(artifacts * 3, ids * 3, strict=True)
    ]
    versions = await asyncio.gather(*calls)
    assert sorted({version.version for version in versions}) == list(range(1, 9))
    for artifact, group in zip(
        artifacts, zip(versions[:8], versions[8:16], versions[16:], strict=True), strict=True
    ):
        assert {version.artifact.sha256 for version in group} == {artifact.sha256}
        assert len({version.name for version in group}) == 1


async def test_an_alias_that_is_not_there_is_told_with_those_that_are(registry: Registry) -> None:
    await registry.brand()
    await registry.upload(kohya_file())
    await registry.stub.SetAlias(pb.SetAliasRequest(lora=HERO, alias="live", version=1))
    lost = await refused(registry.stub.GetLoraVersion(pb.GetLoraVersionRequest(name=f"{HERO}/versions/prod")))
    assert lost.code is grpc.StatusCode.NOT_FOUND
    assert "has no alias 'prod' (aliases: live)" in lost.message
