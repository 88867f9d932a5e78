"""Answers that are no resources: resolved stacks, lineage, changes. Pure, like convert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from brandloom.api.registry.v1 import registry_pb2
from services.registry.convert import FAMILIES, FORMATS, base_model_to_proto
from services.registry.convert_parts import file_to_proto, timestamp
from services.registry.domain import Change, ChangeKind
from services.registry.service_lineage import Lineage, LineageEdge, LineageNode, NodeKind
from services.registry.service_stacks import ResolvedLora, ResolvedStack

_CHANGES: Final[Mapping[ChangeKind, Any]] = {
    kind: registry_pb2.Change.Kind.Value(f"KIND_{kind.name}") for kind in ChangeKind
}
_NODES: Final[Mapping[NodeKind, Any]] = {
    kind: registry_pb2.LineageNode.Kind.Value(f"KIND_{kind.name}") for kind in NodeKind
}


def stack_to_proto(stack: ResolvedStack) -> registry_pb2.ResolveStackResponse:
    """The stack in the order of its references."""
    return registry_pb2.ResolveStackResponse(
        loras=[_resolved(lora) for lora in stack.loras],
        base_model=base_model_to_proto(stack.base) if stack.base else None,
    )


def lineage_to_proto(lineage: Lineage) -> registry_pb2.GetLineageResponse:
    """The graph."""
    return registry_pb2.GetLineageResponse(
        nodes=[_node(node) for node in lineage.nodes.values()],
        edges=[_edge(edge) for edge in lineage.edges],
        truncated=lineage.truncated,
    )


def change_to_proto(change: Change) -> registry_pb2.Change:
    """One entry of the log."""
    return registry_pb2.Change(
        sequence=change.sequence,
        time=timestamp(change.time),
        kind=_CHANGES[change.kind],
        lora=str(change.lora) if change.lora else "",
        version=change.version,
        alias=change.alias,
        resource=change.resource,
    )


def _resolved(lora: ResolvedLora) -> registry_pb2.ResolvedLora:
    version = lora.version
    return registry_pb2.ResolvedLora(
        reference=lora.reference,
        version=version.name,
        artifact=file_to_proto(version.file),
        format=FORMATS[version.format],
        family=FAMILIES[version.family],
        rank=version.rank,
        components=version.components,
        trigger_words=version.trigger_words,
        base_model_sha256=version.base_model_sha256,
    )


def _node(node: LineageNode) -> registry_pb2.LineageNode:
    return registry_pb2.LineageNode(
        name=node.name,
        kind=_NODES[node.kind],
        sha256=node.sha256,
        create_time=timestamp(node.create_time) if node.create_time else None,
    )


def _edge(edge: LineageEdge) -> registry_pb2.LineageEdge:
    # `from` is a word of Python's own.
    return registry_pb2.LineageEdge(
        **{"from": edge.source, "to": edge.target, "relation": edge.relation.value}
    )
