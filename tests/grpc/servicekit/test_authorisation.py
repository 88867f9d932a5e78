"""Strangers learn nothing of any RPC of the API but that it is closed to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.labeler.v1 import labeler_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.trainer.v1 import trainer_pb2, worker_pb2
from servicekit.identity import Principal
from servicekit.interceptors import server_interceptors
from servicekit.metrics import ServiceMetrics
from servicekit.request_brands import brands_of, name_paths
from servicekit.status import from_rpc_error

FILES: tuple[Any, ...] = (labeler_pb2, trainer_pb2, worker_pb2, registry_pb2, inference_pb2)
METHODS = [
    pytest.param(method, id=method.full_name)
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if name_paths(method.input_type)
]
NAMES = ("brands/theirs", "brands/theirs/Neither:a/name", "brands/", "brands/" + 10_000 * "x")
GUEST = Principal(subject="guest", brands=frozenset({"mine"}))


class Guests:
    """Everybody may use the brand `mine` alone."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        return GUEST


@asynccontextmanager
async def calling(method: MethodDescriptor, **options: Any) -> AsyncIterator[Any]:
    """Calls the RPC of a server that has nothing behind the interceptors but an empty answer."""
    answer = GetMessageClass(method.output_type)()

    async def once(request: Any, _context: Any) -> Any:
        if method.client_streaming:
            async for _ in request:
                pass
        return answer

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield await once(request, context)

    sides = (method.client_streaming, method.server_streaming)
    kind = "_".join("stream" if streaming else "unary" for streaming in sides)
    message = GetMessageClass(method.input_type)
    handler = getattr(grpc, f"{kind}_rpc_method_handler")(
        stream if method.server_streaming else once,
        request_deserializer=message.FromString,
        response_serializer=type(answer).SerializeToString,
    )
    chain = server_interceptors(authenticator=Guests(), metrics=ServiceMetrics("test"), **options)
    server = grpc.aio.server(interceptors=chain)
    service = method.containing_service.full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method.name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = getattr(channel, kind)(
            f"/{service}/{method.name}",
            request_serializer=message.SerializeToString,
            response_deserializer=type(answer).FromString,
        )

        async def call(request: Any) -> None:
            answered = stub(iter([request])) if method.client_streaming else stub(request)
            if method.server_streaming:
                async for _ in answered:
                    pass
            else:
                await answered

        yield call
    await server.stop(None)


def naming(descriptor: Descriptor, path: tuple[str, ...], name: str) -> Any:
    """A request with that name at that path and nothing else, so that hardly any rule is kept."""
    message = GetMessageClass(descriptor)()
    place = message
    for step in path[:-1]:
        place = getattr(place, step)
        place.SetInParent()
    setattr(place, path[-1], name)
    return message


async def refusal(call: Any, request: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request)
    error = from_rpc_error(caught.value)
    return caught.value.code(), error.reason, [one.field for one in getattr(error, "violations", ())]


@pytest.mark.parametrize("method", METHODS)
async def test_the_brand_comes_before_all_rules(method: MethodDescriptor) -> None:
    async with calling(method) as call:
        for path in name_paths(method.input_type):
            for name in NAMES:
                request = naming(method.input_type, path, name)
                closed = (grpc.StatusCode.PERMISSION_DENIED, "BRAND_FORBIDDEN", [])
                assert await refusal(call, request) == closed


async def test_the_callers_own_brand_is_held_to_the_rules() -> None:
    method = labeler_pb2.DESCRIPTOR.services_by_name["LabelerService"].methods_by_name["GetDataset"]
    async with calling(method) as call:
        await call(labeler_pb2.GetDatasetRequest(name="brands/mine/datasets/one"))
        for name in ("brands/mine/dataset/one", "brand/mine"):
            request = labeler_pb2.GetDatasetRequest(name=name)
            assert (await refusal(call, request))[::2] == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


async def test_what_only_administrators_may_do_is_refused_before_all_rules() -> None:
    method = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].methods_by_name["CreateBrand"]
    only = frozenset({"/brandloom.api.registry.v1.RegistryService/CreateBrand"})
    async with calling(method, administrators_only=only) as call:
        code, reason, fields = await refusal(call, registry_pb2.CreateBrandRequest(brand_id="Not An Id"))
    assert (code, reason, fields) == (grpc.StatusCode.PERMISSION_DENIED, "ADMINISTRATOR_REQUIRED", [])


async def test_every_message_of_a_stream_is_looked_at() -> None:
    method = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].methods_by_name["UploadVersion"]
    header = registry_pb2.UploadVersionHeader(parent="brands/mine/loras/hero")
    async with calling(method) as call:
        await call(registry_pb2.UploadVersionRequest(header=header))
        header.parent = "brands/theirs/loras/hero"
        code, _, _ = await refusal(call, registry_pb2.UploadVersionRequest(header=header))
    assert code is grpc.StatusCode.PERMISSION_DENIED


def test_a_resource_that_is_made_names_itself_in_vain() -> None:
    request = labeler_pb2.CreateDatasetRequest(parent="brands/mine", dataset_id="one")
    request.dataset.name = "brands/theirs/datasets/one"  # output only: whatever it says is ignored
    assert list(brands_of(request)) == ["mine"]
