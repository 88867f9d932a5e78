"""docs/reference/metrics.md lists what the services expose, and the alert rules."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.fixtures.exposed_metrics import Exposed, exposed_by_services

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("registry", "labeler", "trainer", "inference")
METRIC = re.compile(r"^\| `(brandloom_[a-z_<>]+)` \| (\w+) \| (.*?) ?\| (.+) \|$", re.MULTILINE)
ALERT = re.compile(r"^\| `(Brandloom\w+)` \| (\w+) \|", re.MULTILINE)
PAGE = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")


def documented() -> dict[str, Exposed]:
    found = {}
    for name, kind, labels, meaning in METRIC.findall(PAGE):
        for service in SERVICES if "<service>" in name else ("",):
            full = name.replace("<service>", service)
            found[full] = Exposed(full, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
    return found


def test_the_page_lists_every_metric_as_it_is() -> None:
    exposed = exposed_by_services()
    assert len(exposed) > 40
    assert documented() == exposed


def test_the_page_lists_every_alert() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    found = {
        rule["alert"]: rule["labels"]["severity"] for group in rules["groups"] for rule in group["rules"]
    }
    assert dict(ALERT.findall(PAGE)) == found
