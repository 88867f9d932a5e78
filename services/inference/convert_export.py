"""Exports of stacks between protocol buffers and the domain; pure."""

from __future__ import annotations

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.inference.v1 import inference_pb2
from servicekit.names import parse
from services.inference import convert
from services.inference.domain_export import ExportedFile, ExportRequest, Precision

MEDIA_TYPE = "application/vnd.safetensors"

_PRECISIONS = {
    inference_pb2.ExportStackRequest.PRECISION_UNSPECIFIED: Precision.FLOAT16,
    inference_pb2.ExportStackRequest.PRECISION_FLOAT16: Precision.FLOAT16,
    inference_pb2.ExportStackRequest.PRECISION_BFLOAT16: Precision.BFLOAT16,
    inference_pb2.ExportStackRequest.PRECISION_FLOAT32: Precision.FLOAT32,
}


def export_request(message: inference_pb2.ExportStackRequest) -> ExportRequest:
    """The request with its defaults filled in. Raises InvalidArgument for a parent that is no brand."""
    return ExportRequest(
        brand=parse("brands/{brand}", message.parent, field="parent")["brand"],
        stack=tuple(convert.stack_entry(entry) for entry in message.stack),
        base_model=message.base_model,
        precision=_PRECISIONS[message.precision],
    )


def file_chunk(part: ExportedFile | bytes) -> artifact_pb2.FileChunk:
    """What the file is, or a piece of it; it lies in no store, so it has no uri."""
    if isinstance(part, bytes):
        return artifact_pb2.FileChunk(data=part)
    artifact = artifact_pb2.Artifact(sha256=part.sha256, size_bytes=part.size_bytes, media_type=MEDIA_TYPE)
    return artifact_pb2.FileChunk(artifact=artifact, file_name=part.name)
