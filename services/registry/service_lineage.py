"""Use case: what a version comes from, and what comes from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from servicekit.identity import Principal, require_brand
from services.registry.domain import LoraKey, LoraVersion, VersionKey, base_model_name
from services.registry.ports import Records, RecordStore
from services.registry.service_versions import locate

DEFAULT_DEPTH: Final = 8
MAX_VERSIONS: Final = 1000
"""A version that thousands were continued from would fill more than one message."""

_Step = tuple[LoraKey, int]


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
    """Walks level by level, each level in a fixed number of queries."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def walk(self, key: VersionKey, depth: int) -> Lineage:
        """`depth` steps each way, 0 for the usual 8. Versions of brands closed to the caller stay hidden."""
        principal = require_brand(key.lora.brand)
        async with self._store.snapshot() as records:
            start = await locate(records, key)
            walk = _Walk(records, principal, depth or DEFAULT_DEPTH)
            await walk.up(start)
            await walk.down(start)
        return walk.graph()


class _Walk:
    def __init__(self, records: Records, principal: Principal, depth: int) -> None:
        self._records = records
        self._principal = principal
        self._depth = depth
        self._versions: dict[_Step, LoraVersion] = {}
        self._truncated = False

    async def up(self, start: LoraVersion) -> None:
        level = self._take([start])
        for _ in range(self._depth):
            wanted = self._unseen_parents(level)
            if not wanted:
                return
            level = self._take((await self._records.versions.get_all(wanted)).values())
        # One more look tells whether there would have been more: a parent may also have been deleted.
        wanted = self._unseen_parents(level)
        self._truncated |= bool(wanted and await self._records.versions.get_all(wanted))

    async def down(self, start: LoraVersion) -> None:
        level: Sequence[LoraVersion] = [start]
        for remaining in range(self._depth, -1, -1):
            room = MAX_VERSIONS - len(self._versions) if remaining else 0
            steps = [_step(version) for version in level]
            # One more than there is room for tells whether the walk goes on.
            children = await self._records.versions.children(
                steps, brands=self._principal.brands, limit=room + 1
            )
            self._truncated |= len(children) > room
            level = self._take(children[:room])
            if not level:
                return

    def graph(self) -> Lineage:
        lineage = Lineage(truncated=self._truncated)
        for version in self._versions.values():
            lineage.nodes[version.name] = LineageNode(
                version.name, NodeKind.LORA_VERSION, version.file.sha256, version.create_time
            )
            parent = version.origin.parent_version
            if parent is not None and _parent(version) in self._versions:
                lineage.edges.append(LineageEdge(str(parent), version.name, Relation.PARENT))
            for node, relation in _sources(version):
                lineage.nodes.setdefault(node.name, node)
                lineage.edges.append(LineageEdge(node.name, version.name, relation))
        return lineage

    def _unseen_parents(self, versions: Iterable[LoraVersion]) -> set[_Step]:
        parents = {_parent(version) for version in versions}
        return {
            step
            for step in parents
            if step is not None and step not in self._versions and self._principal.may_use(step[0].brand)
        }

    def _take(self, versions: Iterable[LoraVersion]) -> list[LoraVersion]:
        """Those not seen before, which are remembered."""
        fresh = {_step(version): version for version in versions if _step(version) not in self._versions}
        self._versions.update(fresh)
        return list(fresh.values())


def _step(version: LoraVersion) -> _Step:
    return (version.key, version.version)


def _parent(version: LoraVersion) -> _Step | None:
    parent = version.origin.parent_version
    return (parent.lora, parent.number) if parent is not None and parent.number is not None else None


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
