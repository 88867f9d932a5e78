"""Training jobs and their specs as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from brandloom import Advice, JobState, SpecCheck, TrainingJob, TrainingProgress, TrainingSpec
from brandloom.cli.plain import moment, size, span, words
from brandloom.cli.session import facts, table


def job_facts(job: TrainingJob) -> Any:
    """A job: how far it is, what it was asked for, what it has made."""
    now = job.progress
    return facts(
        [
            ("name", job.name),
            ("display name", job.display_name),
            ("state", job.state.lower()),
            ("queue", _queue(job)),
            ("pack", job.placement.pack if job.placement else ""),
            ("place", place(job)),
            ("error", f"{job.error.message} ({job.error.reason})" if job.error else ""),
            ("step", f"{now.step} of {now.total_steps}" if now else ""),
            ("loss", f"{now.smoothed_loss:.4f}" if now and now.step else ""),
            ("left", span(now.time_left) if now and not job.state.ended else ""),
            ("speed", _speed(now) if now and not job.state.ended else ""),
            ("worker", job.worker),
            ("version", job.lora_version),
            ("created", moment(job.create_time)),
            ("ended", moment(job.end_time)),
            ("spec", spec_facts(job.spec)),
            ("advice", advice_lines(job.advice)),
            ("files", _files(job)),
        ]
    )


def place(job: TrainingJob) -> str:
    """Where a job stands and why; of a queued one, when it may start."""
    if job.placement is None:
        return ""
    start = job.placement.estimated_start_time
    if start is None or job.state is not JobState.QUEUED:
        return job.placement.reason
    wait = max(start - datetime.now(UTC), timedelta(0))
    return f"{job.placement.reason}; may start in {span(wait)}" if wait else job.placement.reason


def check_facts(check: SpecCheck) -> Any:
    """A spec that was not started."""
    return facts(
        [
            ("steps", check.total_steps),
            ("spec", spec_facts(check.spec)),
            ("advice", advice_lines(check.advice) or "none"),
        ]
    )


def advice_lines(advice: Sequence[Advice]) -> str:
    """Each piece of advice on a line, after the field that it is about."""
    return "\n".join(f"{item.field}: {item.message}" for item in advice)


def _speed(now: TrainingProgress) -> str:
    if not now.images_per_second:
        return ""
    alone = f"{now.images_per_second:.1f} images/s"
    pack = f", {now.pack_images_per_second:.1f} in the pack of {now.pack_size}"
    memory = f", {size(now.device_memory_bytes)} of memory" if now.device_memory_bytes else ""
    return f"{alone}{pack if now.pack_images_per_second else ''}{memory}"


def _queue(job: TrainingJob) -> str:
    if job.state is not JobState.QUEUED:
        return ""
    return f"{job.queue_position} before it" if job.queue_position else "next"


_PLAIN_SECTIONS: Final = ("adapter", "optimization", "loss")
"""Parts of a spec whose settings are known by their own names."""


def spec_facts(spec: TrainingSpec) -> Any:
    """The settings by the names of their options."""
    pairs: list[tuple[str, object]] = []
    for name, value in asdict(spec).items():
        if isinstance(value, dict):
            prefix = "" if name in _PLAIN_SECTIONS else f"{name} ".replace("samples", "sample")
            pairs += [(f"{prefix}{key}".replace("_", " "), _setting(item)) for key, item in value.items()]
        else:
            pairs.append((name.replace("_", " "), _setting(value)))
    return facts(pairs)


def _setting(value: object) -> object:
    match value:
        case tuple():
            return words([str(_setting(item)) for item in value])
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case StrEnum():
            return "" if value == "UNSPECIFIED" else value.lower()
    return value


def _files(job: TrainingJob) -> Any:
    rows = [(item.file_name, item.kind.lower(), size(item.artifact.size_bytes)) for item in job.artifacts]
    return table(("file", "kind", "size"), rows) if rows else None
