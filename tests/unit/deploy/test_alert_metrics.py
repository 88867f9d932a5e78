"""The alert rules ask for metrics that the services really have, and each rule has its test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.fixtures.exposed_metrics import exposed_by_services

FOLDER = Path(__file__).resolve().parents[3] / "deploy/prometheus"
NAME = re.compile(r"\bbrandloom_(?:registry|labeler|trainer|inference)_[a-z_]+")


def test_every_metric_in_the_rules_exists() -> None:
    exposed = {name for family in exposed_by_services().values() for name in family.series}
    asked = set(NAME.findall((FOLDER / "alerts.yml").read_text(encoding="utf-8")))
    assert {name.split("_")[1] for name in asked} == {"registry", "labeler", "trainer", "inference"}
    assert sorted(asked - exposed) == []


def test_every_rule_is_tested() -> None:
    groups = _yaml("alerts.yml")["groups"]
    rules = {rule["alert"] for group in groups for rule in group["rules"]}
    tested = {
        check["alertname"] for test in _yaml("alerts_test.yml")["tests"] for check in test["alert_rule_test"]
    }
    assert tested == rules


def _yaml(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
