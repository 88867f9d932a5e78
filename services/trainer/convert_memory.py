"""What workers measure: proto <-> domain."""

from __future__ import annotations

from brandloom.api.trainer.v1 import worker_pb2 as pb
from services.trainer.convert_spec import PRECISION_OF, PRECISIONS, TARGET_OF, TARGETS
from services.trainer.memory_figures import AdapterNumbers, BaseMemory, PassMemory


def memory_to_proto(memory: BaseMemory) -> pb.ReportMemoryRequest:
    """One base on one device."""
    return pb.ReportMemoryRequest(
        device=memory.device,
        base_model_sha256=memory.base_sha256,
        precision=PRECISIONS[memory.precision],
        free_bytes=memory.free_bytes,
        pass_bytes=memory.pass_bytes,
        adapters=[
            pb.AdapterNumbers(
                target=TARGETS[part.target], text_encoder=part.text_encoder, per_rank=part.per_rank
            )
            for part in memory.adapters
        ],
        passes=[
            pb.PassMemory(
                area=measured.area,
                recomputing=measured.recomputing,
                fixed_bytes=measured.fixed_bytes,
                row_bytes=measured.row_bytes,
                parameters=measured.parameters,
            )
            for measured in memory.passes
        ],
    )


def memory_from_proto(message: pb.ReportMemoryRequest) -> BaseMemory:
    """One base on one device."""
    return BaseMemory(
        base_sha256=message.base_model_sha256,
        precision=PRECISION_OF[message.precision],
        device=message.device,
        free_bytes=message.free_bytes,
        pass_bytes=message.pass_bytes,
        adapters=tuple(
            AdapterNumbers(TARGET_OF[part.target], part.text_encoder, part.per_rank)
            for part in message.adapters
        ),
        passes=tuple(
            PassMemory(
                area=measured.area,
                recomputing=measured.recomputing,
                fixed_bytes=measured.fixed_bytes,
                row_bytes=measured.row_bytes,
                parameters=measured.parameters,
            )
            for measured in message.passes
        ),
    )
