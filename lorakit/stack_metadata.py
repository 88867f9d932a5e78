"""The metadata of a stack that was written as one file: what it was made of. Free of torch.

Nothing in it depends on when or where it was written, so that the same stack gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorakit.errors import LoraFormatError
from lorakit.metadata import (
    ARCHITECTURES,
    BASE_DIGEST_KEY,
    BASE_VERSIONS,
    IMPLEMENTATION,
    MODEL_SPEC_VERSION,
    NETWORK_MODULE,
    without_directories,
)

STACK_KEY = "brandloom_stack"
"""JSON: every LoRA of the stack, as `StackPart` has it."""
_PREDICTION_TYPE = "modelspec.prediction_type"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPart:
    """A LoRA of the stack, by its exact version."""

    reference: str
    version: str
    sha256: str
    text_encoder_weight: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFacts:
    """What is known of a stack when its file is written."""

    output_name: str
    """The name under which a prompt's tag finds it (A1111's alias)."""
    family: str
    rank: int
    """The largest of all modules."""
    conv_rank: int | None
    """The largest of convolutions larger than 1x1; None if there are none."""
    base_model_name: str
    base_model_sha256: str
    parts: Sequence[StackPart]
    sources: Sequence[Mapping[str, str]]
    """The metadata of the parts' own files."""


def build_stack_metadata(facts: StackFacts) -> dict[str, str]:
    """The header metadata of a file for pictures, without the hashes, in a fixed order.

    Raises LoraFormatError for a family that ModelSpec has no architecture for.
    """
    if facts.family not in ARCHITECTURES:
        raise LoraFormatError(f"no ModelSpec architecture for the family {facts.family!r}")
    convolutions = (
        {} if facts.conv_rank is None else {"conv_dim": facts.conv_rank, "conv_alpha": facts.conv_rank}
    )
    values = {
        "ss_v2": "False",
        "ss_base_model_version": BASE_VERSIONS[facts.family],
        "ss_network_module": NETWORK_MODULE,
        "ss_network_dim": str(facts.rank),
        "ss_network_alpha": str(float(facts.rank)),
        "ss_network_args": json.dumps(convolutions, sort_keys=True),
        "ss_output_name": facts.output_name,
        "ss_sd_model_name": facts.base_model_name,
        "ss_sd_model_hash": facts.base_model_sha256[:8],
        "ss_new_sd_model_hash": facts.base_model_sha256,
        "ss_training_comment": _description(facts),
        "modelspec.sai_model_spec": MODEL_SPEC_VERSION,
        "modelspec.architecture": ARCHITECTURES[facts.family],
        "modelspec.implementation": IMPLEMENTATION,
        _PREDICTION_TYPE: _common(facts.sources, _PREDICTION_TYPE),
    }
    return _finished({**values, **_shared(facts)})


def build_text_stack_metadata(facts: StackFacts) -> dict[str, str]:
    """The header metadata of a file for a language model, for which other tools have no names."""
    values = {
        "brandloom_output_name": facts.output_name,
        "brandloom_base_model": facts.base_model_name,
        BASE_DIGEST_KEY: facts.base_model_sha256,
    }
    return _finished({**values, **_shared(facts)})


def _shared(facts: StackFacts) -> dict[str, str | None]:
    return {
        "modelspec.title": facts.output_name,
        "modelspec.description": _description(facts),
        "modelspec.merged_from": ", ".join(part.version for part in facts.parts),
        "modelspec.trigger_phrase": _together(facts.sources, "modelspec.trigger_phrase", ", "),
        "modelspec.license": _together(facts.sources, "modelspec.license", "; "),
        STACK_KEY: json.dumps([asdict(part) for part in facts.parts], ensure_ascii=False, sort_keys=True),
    }


def _description(facts: StackFacts) -> str:
    parts = [f"{part.version} ({_weights(part)})" for part in facts.parts]
    return f"A stack of {len(parts)} in one file: {' + '.join(parts)}"


def _weights(part: StackPart) -> str:
    if part.weight == part.text_encoder_weight:
        return f"{part.weight:g}"
    return f"{part.weight:g}, text encoder {part.text_encoder_weight:g}"


def _together(sources: Iterable[Mapping[str, str]], key: str, separator: str) -> str | None:
    """What the parts' files say there, each once, in the order of the stack."""
    said = [piece.strip() for source in sources for piece in source.get(key, "").split(separator.strip())]
    return separator.join(dict.fromkeys(piece for piece in said if piece)) or None


def _common(sources: Iterable[Mapping[str, str]], key: str) -> str | None:
    said = {source.get(key) for source in sources}
    return said.pop() if len(said) == 1 else None


def _finished(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: without_directories(value) for key, value in sorted(values.items()) if value is not None}
