"""Uploading, registering, reading and downloading versions."""

from __future__ import annotations

import asyncio
import hashlib
import json

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import resources_pb2
from tests.grpc.registry.harness import (
    BASE_SHA256,
    SD15,
    SDXL,
    Registry,
    names_of,
    new_request_id,
    refused,
    upload_messages,
)
from tests.grpc.registry.lora_files import diffusers_file, flux_file, kohya_file, peft_file, safetensors

HERO = "brands/acme/loras/hero"


async def stored_files(registry: Registry) -> set[str]:
    """Digests of all files in the local store."""
    root = registry.store._root
    return {path.name for path in (root / "sha256").rglob("*") if path.is_file()}


async def test_an_uploaded_kohya_file_is_described_by_its_header(registry: Registry) -> None:
    await registry.brand()
    await registry.base()
    metadata = {
        "modelspec.trigger_phrase": "zog hero, cape",
        "modelspec.license": "CC-BY-4.0",
        "ss_new_sd_model_hash": BASE_SHA256,
        "ss_output_name": "hero",
    }
    data = kohya_file(rank=4, alpha=2.0, metadata=metadata)
    version = await registry.upload(data, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert version.name == f"{HERO}/versions/1"
    assert (version.format, version.family, version.rank) == (resources_pb2.LORA_FORMAT_KOHYA, SD15, 4)
    assert list(version.components) == ["text_encoder", "unet"]
    assert list(version.trigger_words) == ["zog hero", "cape"]
    assert (version.license, version.base_model) == ("CC-BY-4.0", "baseModels/tiny")
    assert version.base_model_sha256 == BASE_SHA256
    assert version.artifact.size_bytes == len(data)
    assert version.creator == "local-administrator"

    read = await registry.stub.GetLoraVersion(pb.GetLoraVersionRequest(name=f"{HERO}/versions/latest"))
    assert {(module.rank, module.alpha) for module in read.modules} == {(4, 2.0)}
    assert dict(read.file_metadata) == metadata
    lora = await registry.stub.GetLora(pb.GetLoraRequest(name=HERO))
    assert (lora.latest_version, lora.family, list(lora.trigger_words)) == (1, SD15, ["zog hero", "cape"])


async def test_diffusers_and_peft_files_are_recognised(embedded: Registry) -> None:
    await embedded.brand()
    diffusers = await embedded.upload(diffusers_file(rank=8, lora_alpha=16.0))
    assert (diffusers.format, diffusers.family) == (resources_pb2.LORA_FORMAT_DIFFUSERS, SD15)
    assert [(module.module, module.rank, module.alpha) for module in diffusers.modules] == [
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", 8, 16.0)
    ]
    text = await embedded.upload(peft_file(), "brands/acme/loras/voice")
    assert (text.format, text.family) == (resources_pb2.LORA_FORMAT_PEFT, 3)
    sdxl = await embedded.upload(kohya_file(context=2048), "brands/acme/loras/large")
    assert sdxl.family == SDXL


HOSTILE = {
    "a pickle": (b"\x80\x04\x95" + b"x" * 100, "pickle"),
    "a zip": (b"PK\x03\x04" + b"x" * 100, "zip"),
    "empty": (b"", "too few"),
    "short": (b"\x10\0\0", "too few"),
    "huge header": (b"\xff\xff\xff\xff\0\0\0\0{}", "header of"),
    "no json": ((20).to_bytes(8, "little") + b"{" + b"x" * 40, "not JSON"),
    "truncated": (kohya_file()[:-10], "truncated"),
    "trailing bytes": (kohya_file() + b"xx", "belong to none"),
    "a checkpoint": (safetensors({"model.diffusion_model.weight": ("F16", (1,), b"\0\0")}), "no LoRA format"),
    "no up": (safetensors({"lora_unet_x.lora_down.weight": ("F16", (1, 1), b"\0\0")}), "no up"),
    "another family": (flux_file(), "flux"),
    "alpha is nan": (kohya_file(alpha=float("nan")), "alpha is nan"),
}


@pytest.mark.parametrize(("data", "why"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_file_that_is_no_lora_is_refused_and_not_kept(
    embedded: Registry, data: bytes, why: str
) -> None:
    await embedded.brand()
    answer = await refused(embedded.upload(data, file_name="hero.safetensors"))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LORA_FILE_INVALID")
    assert why in answer.fields["chunk"]
    assert "hero.safetensors" in answer.fields["chunk"]
    assert await stored_files(embedded) == set()
    missing = await refused(embedded.stub.GetLora(pb.GetLoraRequest(name=HERO)))
    assert missing.code is grpc.StatusCode.NOT_FOUND
    # The same file, put into the store by somebody else, fares no better.
    if data:
        artifact = await embedded.store.put_bytes(data)
        again = await refused(embedded.register(artifact))
        assert why in again.fields["version.artifact"]


async def test_digest_size_and_limit_are_checked(tmp_path: object, embedded: Registry) -> None:
    await embedded.brand()
    data = kohya_file()
    digest = await refused(embedded.upload(data, sha256="0" * 64))
    assert (digest.reason, list(digest.fields)) == ("DIGEST_MISMATCH", ["header.sha256"])
    size = await refused(embedded.upload(data, size_bytes=len(data) + 5))
    assert size.code is grpc.StatusCode.INVALID_ARGUMENT
    artifact = await embedded.store.put_bytes(data)
    other = resources_pb2.LoraVersion()
    other.artifact.sha256, other.artifact.size_bytes = artifact.sha256, 7
    wrong = await refused(
        embedded.stub.RegisterVersion(pb.RegisterVersionRequest(parent=HERO, version=other))
    )
    assert list(wrong.fields) == ["version.artifact.size_bytes"]


async def test_messages_out_of_order_are_refused(embedded: Registry) -> None:
    await embedded.brand()
    for parts in (["chunk"], [], ["header", "header"]):
        answer = await refused(embedded.stub.UploadVersion(_parts(parts)))
        assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(answer.fields) == ["header"]


async def _parts(parts: list[str]) -> object:
    for part in parts:
        if part == "chunk":
            yield pb.UploadVersionRequest(chunk=b"x" * 16)
        else:
            yield pb.UploadVersionRequest(header=pb.UploadVersionHeader(parent=HERO))


async def test_an_upload_that_breaks_off_leaves_nothing(embedded: Registry) -> None:
    await embedded.brand()

    async def broken() -> object:
        async for message in upload_messages(kohya_file(), HERO, chunk_bytes=500):
            yield message
            break
        yield pb.UploadVersionRequest(chunk=kohya_file()[:500])
        raise ConnectionError("the client dies here")

    call = embedded.stub.UploadVersion(broken())
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await call
    for _ in range(50):
        drafts = list((embedded.store._root / "drafts").iterdir())
        if not drafts:
            break
        await asyncio.sleep(0.1)
    assert drafts == []
    assert await stored_files(embedded) == set()


async def test_an_upload_is_registered_once_for_each_request_id(registry: Registry) -> None:
    await registry.brand()
    request_id = new_request_id()
    first = await registry.upload(kohya_file(), request_id=request_id)
    again = await registry.upload(kohya_file(), request_id=request_id)
    assert again.name == first.name
    other = await refused(registry.upload(kohya_file(seed=9), request_id=request_id))
    assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


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
        ),
    )
    version.previews.add(sha256=preview.sha256, size_bytes=preview.size_bytes, media_type="image/png")
    made = await registry.register(artifact, version=version, request_id=new_request_id())
    read = await registry.stub.GetLoraVersion(pb.GetLoraVersionRequest(name=made.name))
    for field in ("origin", "evaluation", "trigger_words", "tags", "base_model"):
        assert getattr(read, field) == getattr(version, field)
    assert read.previews[0].uri == preview.uri
    listed = await registry.stub.ListLoraVersions(pb.ListLoraVersionsRequest(parent=HERO, filter="tags:demo"))
    assert listed.versions[0].origin.training_spec_json == ""
    assert not listed.versions[0].modules


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
    unseen = resources_pb2.LoraVersion()
    unseen.previews.add(sha256="f" * 64)
    lost = await refused(embedded.register(artifact, version=unseen))
    assert (lost.reason, list(lost.fields)) == ("PREVIEW_NOT_FOUND", ["version.previews[0]"])
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
