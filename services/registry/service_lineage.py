"""Use case: what a version comes from, and what comes from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from servicekit.identity import current_principal
from services.registry.domain import LoraVersion, VersionKey, base_model_name
from services.registry.ports import RecordStore
from services.registry.service_versions import locate

DEFAULT_DEPTH: Final = 8
MAX_VERSIONS: Final = 1000
"""A version that thousands were continued from would fill more than one message."""


class NodeKind(StrEnum):
    """What a node is."""

    LORA_VERSION = "lora_version"
    DATASET_REVISION = "dataset_revision"
    TRAINING_JOB = "training_job"
    BASE_MODEL = "base_model"


class Relation(StrEnum):
    """How the start of an edge was needed to make its end."""

    PARENT = "parent"
    TRAINED_ON = "trained_on"
    MADE_BY = "made_by"
    BASE = "base"


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A resource; sha256 and time where the registry knows them."""

    name: str
    kind: NodeKind
    sha256: str = ""
    create_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """`source` was needed to make `target`; both are names of nodes."""

    source: str
    target: str
    relation: Relation


@dataclass(slots=True)
class Lineage:
    """A graph without cycles; `truncated` when the walk stopped before its ends."""

    nodes: dict[str, LineageNode] = field(default_factory=dict)
    edges: list[LineageEdge] = field(default_factory=list)
    truncated: bool = False


class LineageCases:
    """Walks over the recorded parents in a fixed number of queries."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def walk(self, key: VersionKey, depth: int) -> Lineage:
        """`depth` steps each way, 0 for the usual 8. Versions of brands closed to the caller stay hidden."""
        brands = current_principal().brands
        steps = depth or DEFAULT_DEPTH
        # One step and one version more than are shown tell whether the walk would go on.
        bounds: Any = {"brands": brands, "depth": steps + 1, "limit": MAX_VERSIONS + 1}
        async with self._store.snapshot() as records:
            start = await locate(records, key)
            ancestors = await records.versions.ancestors(start, **bounds)
            descendants = await records.versions.descendants(start, **bounds)
        found = [*ancestors, *descendants]
        near = [version for distance, version in found if distance <= steps][: MAX_VERSIONS - 1]
        return _graph([start, *near], truncated=len(near) < len(found))


def _graph(versions: Sequence[LoraVersion], *, truncated: bool) -> Lineage:
    lineage = Lineage(truncated=truncated)
    by_name = {version.name: version for version in versions}
    for version in by_name.values():
        file, moment = version.file, version.create_time
        lineage.nodes[version.name] = LineageNode(version.name, NodeKind.LORA_VERSION, file.sha256, moment)
        parent = version.origin.parent_version
        if parent is not None and str(parent) in by_name:
            lineage.edges.append(LineageEdge(str(parent), version.name, Relation.PARENT))
        for node, relation in _sources(version):
            lineage.nodes.setdefault(node.name, node)
            lineage.edges.append(LineageEdge(node.name, version.name, relation))
    return lineage


def _sources(version: LoraVersion) -> list[tuple[LineageNode, Relation]]:
    origin = version.origin
    found = []
    if origin.dataset_revision:
        node = LineageNode(origin.dataset_revision, NodeKind.DATASET_REVISION, origin.dataset_sha256)
        found.append((node, Relation.TRAINED_ON))
    if origin.training_job:
        found.append((LineageNode(origin.training_job, NodeKind.TRAINING_JOB), Relation.MADE_BY))
    if version.base_model_id:
        base = LineageNode(
            base_model_name(version.base_model_id), NodeKind.BASE_MODEL, version.base_model_sha256
        )
        found.append((base, Relation.BASE))
    return found
