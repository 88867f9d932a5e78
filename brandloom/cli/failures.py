"""Errors as the command tells them: to people, and to programs."""

from __future__ import annotations

import json
from typing import Any

from brandloom import errors
from brandloom.cli.plain import plain, visible


def describe(error: errors.BrandloomError) -> str:
    """The error for a terminal: what is wrong, each faulty field, the reason, when to try again."""
    if not isinstance(error, errors.ApiError):
        return visible(f"Error: {error}")
    lines = [f"Error: {error.message}"]
    if error.violations:
        lines = ["Error: the request is not valid"]
        lines += [f"  {item.field or '(request)'}: {item.description}" for item in error.violations]
    facts = [f"reason {error.reason}"]
    if error.method:
        facts.append(f"call {error.method}")
    if error.request_id:
        facts.append(f"request {error.request_id}")
    if error.retry_after_seconds is not None:
        facts.append(f"try again in {error.retry_after_seconds:g} s")
    lines.append(f"  ({', '.join(facts)})")
    return visible("\n".join(lines))


def document(error: errors.BrandloomError) -> str:
    """The same as one line of JSON: `kind` is the class of `brandloom.errors`."""
    told: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, errors.ApiError):
        told |= {
            "reason": error.reason,
            "metadata": error.metadata,
            "violations": error.violations,
            "retry_after_seconds": error.retry_after_seconds,
            "method": error.method,
            "request_id": error.request_id,
        }
    return json.dumps({"error": plain(told)}, ensure_ascii=False)
