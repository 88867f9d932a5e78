"""Every RPC is refused to strangers before its request is looked at, or is named here with a reason.

What names a resource in a request is found by its field's name (servicekit.request_brands).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.labeler.v1 import labeler_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.trainer.v1 import trainer_pb2, worker_pb2
from buf.validate import validate_pb2
from servicekit.request_brands import name_paths
from services.registry.servicer import ADMINISTRATORS_ONLY as REGISTRY_ADMINISTRATORS
from services.trainer.worker_servicer import ADMINISTRATORS_ONLY as WORKER_ADMINISTRATORS

FILES: tuple[Any, ...] = (labeler_pb2, trainer_pb2, worker_pb2, registry_pb2, inference_pb2)
ADMINISTRATORS = {"RegistryService": REGISTRY_ADMINISTRATORS, "TrainingWorkerService": WORKER_ADMINISTRATORS}
NOT_BRAND_BOUND = {
    "ListBrands": "answers with the caller's brands",
    "SearchLoras": "answers with LoRAs of the caller's brands",
    "GetBaseModel": "base models belong to the installation",
    "ListBaseModels": "base models belong to the installation",
    "GetCapacity": "tells about the process; where models lie, to administrators only",
}


def services() -> Iterator[ServiceDescriptor]:
    for file in FILES:
        yield from file.DESCRIPTOR.services_by_name.values()


METHODS = [pytest.param(method, id=method.full_name) for service in services() for method in service.methods]


def pattern(field: FieldDescriptor) -> str:
    return str(field.GetOptions().Extensions[validate_pb2.field].string.pattern)


def names_a_brand(descriptor: Descriptor, path: tuple[str, ...]) -> bool:
    """Whether the field at that path names a brand or something of a brand: all but base models do."""
    field = descriptor.fields_by_name[path[0]]
    if field.message_type is not None:
        return names_a_brand(field.message_type, path[1:])
    return descriptor.name != "BaseModel" and not pattern(field).startswith("^baseModels/")


@pytest.mark.parametrize("method", METHODS)
def test_strangers_are_refused_or_it_is_said_why_not(method: MethodDescriptor) -> None:
    administered = method.name in ADMINISTRATORS.get(method.containing_service.name, ())
    brand_bound = any(names_a_brand(method.input_type, path) for path in name_paths(method.input_type))
    assert administered or brand_bound or method.name in NOT_BRAND_BOUND
    assert not (method.name in NOT_BRAND_BOUND and (administered or brand_bound)), "the exception is none"


def test_no_name_of_a_method_is_misspelt() -> None:
    known = {service.name: {method.name for method in service.methods} for service in services()}
    for service, methods in ADMINISTRATORS.items():
        assert methods <= known[service]
    assert set(NOT_BRAND_BOUND) <= set().union(*known.values())


@pytest.mark.parametrize("method", METHODS)
def test_every_field_with_a_name_of_a_brand_at_the_top_of_a_request_is_seen(method: MethodDescriptor) -> None:
    request = method.input_type
    seen = {path[0] for path in name_paths(request)}
    for field in request.fields:
        if re.match(r"\^\(?brands/", pattern(field)):
            assert field.name in seen
