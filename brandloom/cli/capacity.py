"""`brandloom capacity`."""

from __future__ import annotations

from typing import Any

import click

from brandloom import Capacity, PinnedStack
from brandloom._names import short
from brandloom.cli.framework import Command
from brandloom.cli.plain import moment, size
from brandloom.cli.session import Session, facts, pass_session, table


@click.command(cls=Command)
@pass_session
def capacity(session: Session) -> None:
    """Show what the inference service holds, does and can take."""
    session.show(session.client.images.capacity(), _capacity)


def _capacity(now: Capacity) -> Any:
    # The service tells administrators alone where a base lies.
    bases = [
        "  ".join(part for part in (base.source, base.sha256[:12], "default" if base.default else "") if part)
        for base in now.bases
    ]
    caches = [
        (cache.level, size(cache.used_bytes), size(cache.budget_bytes), cache.hits, cache.misses)
        for cache in now.caches
    ]
    return facts(
        [
            ("engine", _engine(now)),
            ("rows", f"{now.active_rows} of {now.max_rows}"),
            ("text rows", f"{now.active_text_rows} of {now.max_text_rows}" if now.max_text_rows else ""),
            ("queue", f"{now.queued_requests} of {now.max_queued_requests}"),
            ("largest", f"{now.max_width}x{now.max_height} pixels"),
            ("samplers", ", ".join(sampler.lower() for sampler in now.samplers)),
            ("bases", "\n".join(bases)),
            ("caches", table(("cache", "used", "budget", "hits", "misses"), caches) if caches else ""),
            ("pins", table(("brand", "stack", "until"), map(_pin, now.pins)) if now.pins else ""),
        ]
    )


def _engine(now: Capacity) -> str:
    ready = "ready" if now.engine_ready else "not ready"
    return f"{ready}, the service is stopping" if now.draining else ready


def _pin(pin: PinnedStack) -> tuple[str, str, str]:
    stack = " + ".join(f"{short(used.version)} at {used.weight:g}" for used in pin.stack)
    # One that the service's own configuration keeps has no end.
    return short(pin.parent), stack, moment(pin.expire_time) or "always"
