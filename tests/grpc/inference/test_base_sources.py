"""Pictures from a base model are the same wherever its source is."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from servicekit.channels import open_channel
from tests.fakes.identities import GUEST_TOKEN
from tests.fixtures.base_sources import KINDS, BaseSources, put_base_sources
from tests.fixtures.s3 import S3Server
from tests.grpc.inference.harness import Inference, running_inference
from tests.grpc.registry.harness import SD15, Refusal, read_refusal

pytestmark = pytest.mark.timeout(240)
SIZE = {"width": 16, "height": 16}


@pytest.fixture
def sources(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> BaseSources:
    return put_base_sources(tmp_path / "sources", s3_server, s3_bucket, monkeypatch)


@pytest.fixture
async def inference(sources: BaseSources, tmp_path: Path) -> AsyncIterator[Inference]:
    async with running_inference(tmp_path, **sources.environment) as running:
        yield running


async def add(inference: Inference, name: str, source: str, sha256: str) -> str:
    await inference.registry.stub.CreateBaseModel(
        registry_pb2.CreateBaseModelRequest(
            base_model_id=name,
            base_model=resources_pb2.BaseModel(family=SD15, source=source, sha256=sha256, resolution=128),
        )
    )
    return f"baseModels/{name}"


async def refused(inference: Inference, base_model: str) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await inference.generate(base_model=base_model, **SIZE)
    return read_refusal(caught.value)


async def test_every_kind_of_source_is_served(inference: Inference, sources: BaseSources) -> None:
    pixels = {}
    for kind in KINDS:
        name = await add(inference, kind, sources.sources[kind], sources.digests[kind])
        answer = await inference.generate(base_model=name, **SIZE)
        assert answer.queued.base_model_sha256 == sources.digests[kind]
        pixels[kind] = answer.pixels()
    assert all(np.array_equal(pixels["directory"], pixels[kind]) for kind in KINDS)
    loaded = {base.source for base in inference.app.service.capacity().bases}
    assert loaded <= set(sources.sources.values()) | {str(inference.folder / "base" / "tiny")}


async def test_wrong_sources_are_refused_with_their_reason(
    inference: Inference, sources: BaseSources
) -> None:
    for kind in KINDS:
        name = await add(inference, f"other-{kind}", sources.sources[kind], "0" * 64)
        refusal = await refused(inference, name)
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "BASE_MODEL_CHANGED",
        ), kind
        assert sources.digests[kind] in refusal.message
        assert "0" * 64 in refusal.message
    for kind, source in {
        "path": "/nothing/here",
        "hub": "acme/unknown",
        "s3": sources.sources["s3-directory"] + "-not",
        "pickle": sources.sources["s3-file"].replace(".safetensors", ".ckpt"),
    }.items():
        refusal = await refused(inference, await add(inference, f"no-{kind}", source, "1" * 64))
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "BASE_MODEL_UNUSABLE",
        ), kind
        assert refusal.metadata["base_model"] == f"baseModels/no-{kind}"
        assert source in refusal.message
    async with open_channel(f"127.0.0.1:{inference.port}", token=GUEST_TOKEN) as channel:
        request = inference.request(base_model="baseModels/no-s3", **SIZE)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in type(inference.stub)(channel).GenerateImages(request):
                pass
    refusal = read_refusal(caught.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BASE_MODEL_UNUSABLE")
    assert refusal.message == "the base model baseModels/no-s3 cannot be used; administrators are told why"
    assert refusal.metadata == {"base_model": "baseModels/no-s3"}
    shutil.rmtree(sources.environment["BRANDLOOM_CLIP_TOKENIZER"])
    name = await add(inference, "no-tokenizer", sources.sources["file"], sources.digests["file"])
    refusal = await refused(inference, name)
    assert refusal.reason == "BASE_MODEL_UNUSABLE"
    assert "holds no CLIP tokenizer" in refusal.message
