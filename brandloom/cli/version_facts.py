"""A version as people read it: what it is, and what made it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from brandloom import Artifact, LoraOrigin, LoraVersion
from brandloom._replica import spec_of_version
from brandloom.cli.job_facts import advice_lines, spec_facts
from brandloom.cli.plain import moment, size, span, words
from brandloom.cli.session import facts
from brandloom.errors import InvalidArgument


def version_facts(version: LoraVersion) -> Any:
    """Everything that is known of it, but for its modules and the metadata of its file."""
    origin = version.origin
    return facts(
        [
            ("name", version.name),
            ("aliases", words(version.aliases)),
            ("description", version.description),
            ("format", version.format.lower()),
            ("family", version.family),
            ("base model", version.base_model),
            ("base sha256", version.base_model_sha256),
            ("rank", version.rank),
            ("modules", len(version.modules)),
            ("components", words(version.components)),
            ("trigger words", words(version.trigger_words)),
            ("tags", words(version.tags)),
            ("license", version.license),
            ("sha256", version.artifact.sha256),
            ("size", size(version.artifact.size_bytes)),
            ("training job", origin.training_job),
            ("dataset", origin.dataset_revision),
            ("dataset sha256", origin.dataset_sha256),
            ("prior sha256", origin.prior_dataset_sha256),
            ("parent", origin.parent_version),
            ("parent sha256", origin.parent_sha256),
            (
                "evaluation",
                "\n".join(f"{key} {value:g}" for key, value in sorted(version.evaluation.items())),
            ),
            ("trained", _times(origin)),
            ("previews", _pictures(version)),
            ("advice", advice_lines(origin.advice)),
            ("environment", facts(sorted(origin.environment.items())) if origin.environment else ""),
            ("spec", _spec(version)),
            ("created", f"{moment(version.create_time)} by {version.creator}"),
        ]
    )


def _times(origin: LoraOrigin) -> str:
    if origin.start_time is None or origin.end_time is None:
        return ""
    steps = span(timedelta(seconds=origin.training_seconds))
    speed = f", {origin.images_per_second:.1f} images/s" if origin.images_per_second else ""
    return f"{moment(origin.start_time)} to {moment(origin.end_time)}, {steps} of it in steps{speed}"


def _pictures(version: LoraVersion) -> str:
    """Their digests; `versions download --previews` fetches them."""
    origin = version.origin
    named: list[tuple[str, Artifact | None]] = [
        ("sheet", origin.preview_sheet),
        ("loss plot", origin.loss_plot),
        *((f"preview {index}", file) for index, file in enumerate(version.previews)),
    ]
    return "\n".join(f"{name} {file.sha256[:12]} ({size(file.size_bytes)})" for name, file in named if file)


def _spec(version: LoraVersion) -> Any:
    if not version.origin.training_spec_json:
        return ""
    try:
        return spec_facts(spec_of_version(version))
    except InvalidArgument:
        return version.origin.training_spec_json  # of a trainer that is newer than this command
