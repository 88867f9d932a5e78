"""Messages and domain objects: what goes in comes out, and masks mean what AIP-134 says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from brandloom.api.common.v1 import artifact_pb2, family_pb2
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from servicekit.errors import InvalidArgument
from servicekit.text_rules import refuse_nul
from services.registry import convert, convert_answers, convert_parts
from services.registry.domain import (
    BaseModel,
    Brand,
    Change,
    ChangeKind,
    Lora,
    LoraFormat,
    LoraKey,
    LoraOrigin,
    LoraVersion,
    ModelFamily,
    ModuleRank,
)
from services.registry.domain_files import StoredFile
from services.registry.origin_codec import read_details, write_details
from services.registry.service_lineage import Lineage, LineageEdge, LineageNode, NodeKind, Relation

MOMENT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
HERO = LoraKey("acme", "hero")
STAMPS = {"create_time": MOMENT, "update_time": MOMENT, "etag": "e1"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
NO_DETAILS = LoraOrigin()
COLUMNS: dict[str, Any] = {
    name: getattr(NO_DETAILS, name)
    for name in ("training_job", "dataset_revision", "dataset_sha256", "parent_version", "training_spec_json")
}
"""What of an origin is not among its details."""
FILES = st.builds(artifact_pb2.Artifact, sha256=DIGESTS, size_bytes=st.integers(0, 2**40), media_type=TEXTS)
STAMPS_PB = st.builds(
    Timestamp, seconds=st.integers(0, 2**32), nanos=st.integers(0, 999_999).map(lambda count: count * 1000)
)
DRAFTS = st.builds(
    resources_pb2.LoraVersion,
    base_model=st.sampled_from(["", "baseModels/tiny"]),
    base_model_sha256=st.just("") | DIGESTS,
    trigger_words=st.lists(TEXTS, max_size=3),
    tags=st.lists(st.sampled_from(["a", "b.c"]), max_size=2, unique=True),
    description=TEXTS,
    license=TEXTS,
    evaluation=st.dictionaries(TEXTS, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    origin=st.builds(
        resources_pb2.LoraOrigin,
        training_job=st.sampled_from(["", "brands/acme/trainingJobs/7f"]),
        dataset_revision=st.sampled_from(["", "brands/acme/datasets/d/revisions/3"]),
        parent_version=st.sampled_from(["", "brands/acme/loras/hero/versions/3"]),
        training_spec_json=st.sampled_from(["", '{"rank": 4}']),
        environment=st.dictionaries(st.sampled_from(["torch", "device"]), TEXTS),
        advice=st.lists(
            st.builds(resources_pb2.TrainingAdvice, code=TEXTS, field=TEXTS, message=TEXTS), max_size=2
        ),
        preview_sheet=st.none() | FILES,
        loss_plot=st.none() | FILES,
        parent_sha256=st.just("") | DIGESTS,
        prior_dataset_sha256=st.just("") | DIGESTS,
        start_time=st.none() | STAMPS_PB,
        end_time=st.none() | STAMPS_PB,
        training_seconds=st.floats(0, 1e9),
        images_per_second=st.floats(0, 1e9),
    ),
    previews=st.lists(FILES, max_size=2),
)


@given(DRAFTS)
def test_what_a_caller_says_of_a_version_comes_back(message: resources_pb2.LoraVersion) -> None:
    draft = convert.draft_from_proto(message, "version")
    version = LoraVersion(
        key=HERO,
        version=3,
        file=StoredFile(sha256="a" * 64, size_bytes=7, media_type="x/y"),
        format=LoraFormat.KOHYA,
        family=ModelFamily.SD15,
        rank=4,
        components=("unet",),
        creator="ada",
        create_time=MOMENT,
        etag="e1",
        aliases=("prod",),
        modules=(ModuleRank(module="m", rank=4, alpha=2.0),),
        file_metadata={"ss_v2": "False"},
        **{name: getattr(draft, name) for name in draft.__slots__},
    )
    answer = convert.version_to_proto(version)
    named = [message.origin.preview_sheet] if message.origin.HasField("preview_sheet") else []
    named += [message.origin.loss_plot] if message.origin.HasField("loss_plot") else []
    for file in (*message.previews, *named):
        file.uri = f"sha256/{file.sha256[:2]}/{file.sha256}"
    for descriptor, value in message.ListFields():
        assert getattr(answer, descriptor.name) == value
    assert answer.name == "brands/acme/loras/hero/versions/3"
    assert answer.artifact.uri == f"sha256/aa/{'a' * 64}"
    assert (answer.family, answer.format) == (family_pb2.MODEL_FAMILY_SD15, resources_pb2.LORA_FORMAT_KOHYA)
    assert convert.draft_from_proto(answer, "version") == draft
    kept = json.loads(json.dumps(write_details(draft.origin)))
    assert replace(NO_DETAILS, **read_details(kept)) == replace(draft.origin, **COLUMNS)


def test_every_family_format_and_kind_has_a_number() -> None:
    assert {convert.family_from_proto(number) for number in convert.FAMILIES.values()} == set(ModelFamily)
    assert set(convert.FORMATS) == set(LoraFormat)
    for kind in ChangeKind:
        change = Change(sequence=1, time=MOMENT, kind=kind, lora=HERO)
        assert convert_answers.change_to_proto(change).kind > 0
    of_brand = Change(sequence=1, time=MOMENT, kind=ChangeKind.BRAND_DELETED, resource="brands/acme")
    told = convert_answers.change_to_proto(of_brand)
    assert (told.lora, told.resource) == ("", "brands/acme")


def test_resources_become_messages() -> None:
    stamp = Timestamp()
    stamp.FromDatetime(MOMENT)
    brand = convert.brand_to_proto(Brand(brand_id="acme", labels={"a": "b"}, **STAMPS))
    assert (brand.name, dict(brand.labels), brand.create_time) == ("brands/acme", {"a": "b"}, stamp)
    base = BaseModel(base_model_id="tiny", family=ModelFamily.SDXL, source="s", sha256="b" * 64, **STAMPS)
    assert convert.base_model_to_proto(base).family == family_pb2.MODEL_FAMILY_SDXL
    lora = convert.lora_to_proto(Lora(key=HERO, aliases={"prod": 2}, latest_version=3, **STAMPS))
    assert (lora.family, dict(lora.aliases)) == (family_pb2.MODEL_FAMILY_UNSPECIFIED, {"prod": 2})


def test_edges_say_from_and_to() -> None:
    node = LineageNode("baseModels/tiny", NodeKind.BASE_MODEL)
    edge = LineageEdge("baseModels/tiny", "brands/acme/loras/hero/versions/1", Relation.BASE)
    answer = convert_answers.lineage_to_proto(Lineage({node.name: node}, [edge], truncated=True))
    assert getattr(answer.edges[0], "from") == "baseModels/tiny"
    assert (answer.nodes[0].kind, answer.truncated) == (registry_pb2.LineageNode.KIND_BASE_MODEL, True)


def test_masks() -> None:
    lora = resources_pb2.Lora(display_name="Hero", etag="e", latest_version=9)
    fields = convert.LORA_FIELDS
    assert convert.masked(lora, FieldMask(), fields) == {"display_name": "Hero"}
    assert convert.masked(lora, FieldMask(paths=["tags"]), fields) == {"tags": ()}
    assert convert.masked(lora, FieldMask(paths=["*"]), fields).keys() == fields.keys()
    with pytest.raises(InvalidArgument):
        convert.masked(lora, FieldMask(paths=["latest_version"]), fields)


def test_the_request_id_is_no_part_of_the_body() -> None:
    one = registry_pb2.CreateLoraRequest(parent="brands/acme", lora_id="hero", request_id="1")
    two = registry_pb2.CreateLoraRequest(parent="brands/acme", lora_id="hero", request_id="2")
    other = registry_pb2.CreateLoraRequest(parent="brands/acme", lora_id="villain", request_id="1")
    assert convert.request_id(one).digest == convert.request_id(two).digest
    assert convert.request_id(one).digest != convert.request_id(other).digest


def test_an_artifact_elsewhere_is_refused() -> None:
    message = artifact_pb2.Artifact(sha256="a" * 64, uri="sha256/bb/" + "b" * 64)
    with pytest.raises(InvalidArgument) as refused:
        convert_parts.file_from_proto(message, "version.artifact")
    assert refused.value.violations[0].field == "version.artifact.uri"


def test_nul_is_found_wherever_it_hides() -> None:
    brand = resources_pb2.Brand(display_name="a\0", labels={"k": "\0"})
    with pytest.raises(InvalidArgument) as refused:
        refuse_nul(registry_pb2.CreateBrandRequest(brand_id="acme", brand=brand))
    fields = {violation.field for violation in refused.value.violations}
    assert fields == {"brand.display_name", "brand.labels['k']"}
    lora = resources_pb2.Lora(tags=["ok", "\0"])
    with pytest.raises(InvalidArgument, match=r"tags\[1\]"):
        refuse_nul(lora)
    refuse_nul(registry_pb2.UploadVersionRequest(chunk=b"\0"))
