"""What the rules of the real API say to those who break them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.labeler.v1 import labeler_pb2
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from brandloom.api.trainer.v1 import trainer_pb2, worker_pb2
from buf.validate import validate_pb2
from servicekit.errors import InvalidArgument
from servicekit.pattern_words import in_words
from servicekit.validation import validate_message

ID = "must be 1 to 63 lower-case letters, digits and hyphens, with a letter first and no hyphen last"
FIELD_RULES: Any = validate_pb2.field
BASE = resources_pb2.BaseModel(name="baseModels/tiny", description="small")


def refused(message: object) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        validate_message(message)  # type: ignore[arg-type]
    return {one.field: one.description for one in caught.value.violations}


def patterns() -> Iterator[str]:
    modules = (labeler_pb2, registry_pb2, trainer_pb2, worker_pb2, inference_pb2)
    files = {module.DESCRIPTOR for module in modules}
    files |= {dependency for file in files for dependency in file.dependencies}
    for file in files:
        for message in file.message_types_by_name.values():
            yield from _patterns_in(message)


def _patterns_in(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        rules: Any = field.GetOptions().Extensions[FIELD_RULES]
        for text in (rules.string, rules.repeated.items.string, rules.map.keys.string):
            if text.pattern:
                yield text.pattern
    for nested in message.nested_types:
        yield from _patterns_in(nested)


def test_every_pattern_of_the_api_has_words() -> None:
    found = set(patterns())
    assert len(found) > 15
    assert [pattern for pattern in sorted(found) if in_words(pattern) is None] == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", ID),
        ("^([0-9a-f]{64})?$", "must be a SHA-256 in 64 lower-case hexadecimal digits or empty"),
        (
            "^brands/[a-z]([a-z0-9-]{0,61}[a-z0-9])?/trainingJobs/[a-z0-9][a-z0-9-]{0,62}$",
            "must look like brands/{brand}/trainingJobs/{training_job}, "
            "in lower-case letters, digits and hyphens",
        ),
        (
            "^(baseModels/[a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$",
            "must look like baseModels/{base_model} or empty, in lower-case letters, digits and hyphens",
        ),
        ("^[0-9]+$", None),
    ],
)
def test_patterns_in_words(pattern: str, words: str | None) -> None:
    assert in_words(pattern) == words


def test_a_wrong_id_is_shown_with_the_rule() -> None:
    assert refused(registry_pb2.CreateBrandRequest(brand_id="Acme Inc")) == {
        "brand_id": f"{ID}; not 'Acme Inc'"
    }


def test_an_update_is_judged_by_what_it_writes() -> None:
    update = registry_pb2.UpdateBaseModelRequest
    validate_message(update(base_model=BASE, update_mask=FieldMask(paths=["description"])))
    validate_message(update(base_model=BASE))
    assert set(refused(update(base_model=BASE, update_mask=FieldMask(paths=["source"])))) == {
        "base_model.source"
    }
    everything = refused(update(base_model=BASE, update_mask=FieldMask(paths=["*"])))
    assert set(everything) == {"base_model.family", "base_model.source", "base_model.sha256"}
    wrong = resources_pb2.BaseModel(name="baseModels/tiny", resolution=-1)
    assert set(refused(update(base_model=wrong))) == {"base_model.resolution"}
    assert set(refused(update(update_mask=FieldMask(paths=["source"])))) == {"base_model"}
