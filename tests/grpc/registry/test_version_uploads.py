"""Uploading versions: what a file is, and when it is refused."""

from __future__ import annotations

import asyncio
import hashlib

import grpc
import pytest

from brandloom.api.registry.v1 import registry_pb2 as pb
from brandloom.api.registry.v1 import resources_pb2
from tests.grpc.registry.harness import (
    BASE_SHA256,
    SD15,
    SDXL,
    Registry,
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
