"""docs/reference/configuration.md names every variable that a service reads, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ = re.compile(r'reader\.\w+\(\s*"(BRANDLOOM_[A-Z0-9_]+)"|name = "(BRANDLOOM_[A-Z0-9_]+)"')
DOCUMENTED = re.compile(r"`(BRANDLOOM_[A-Z0-9_<>]+)`")
FOR_EACH_SERVICE = ("LISTEN", "METRICS_LISTEN", "ADDRESS", "DATABASE_URL", "DRAIN_SECONDS")


def documented() -> set[str]:
    text = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
    names: set[str] = set()
    for name in DOCUMENTED.findall(text):
        services = ("REGISTRY", "LABELER", "TRAINER", "INFERENCE") if "<SERVICE>" in name else ("",)
        names |= {name.replace("<SERVICE>", service) for service in services}
    return names


def read_by_services() -> set[str]:
    names: set[str] = set()
    for folder in ("servicekit", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            for groups in READ.findall(path.read_text(encoding="utf-8")):
                names |= {name for name in groups if name}
    return names


def test_every_variable_is_documented() -> None:
    read = read_by_services()
    assert len(read) > 40
    assert sorted(read - documented()) == []


def test_every_documented_variable_is_read() -> None:
    of_each_service = {
        name
        for name in documented()
        if name.split("_", 2)[-1] in FOR_EACH_SERVICE or name.endswith("_ADDRESS")
    }
    assert sorted(documented() - of_each_service - read_by_services()) == []
