"""The alert rules ask for metrics that the services really have."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import generate_latest

from servicekit.metrics import ServiceMetrics
from services.inference.meter import InferenceMeter
from services.registry.figures import PrometheusFigures
from services.trainer.metrics import PrometheusMeters

RULES = Path(__file__).resolve().parents[3] / "deploy/prometheus/alerts.yml"
NAME = re.compile(r"\bbrandloom_(?:registry|labeler|trainer|inference)_[a-z_]+")


def exposed() -> set[str]:
    """Names of all series of freshly started services."""
    registry, trainer, inference = (ServiceMetrics(name) for name in ("registry", "trainer", "inference"))
    PrometheusFigures(registry)
    PrometheusMeters(trainer)
    InferenceMeter(inference)
    names: set[str] = set()
    for metrics in (registry, trainer, inference):
        for line in generate_latest(metrics.registry).decode().splitlines():
            if line.startswith("# TYPE"):
                _, _, name, kind = line.split()
                names |= {name} | ({f"{name}_bucket"} if kind == "histogram" else set())
    return names


def test_every_metric_in_the_rules_exists() -> None:
    asked = set(NAME.findall(RULES.read_text(encoding="utf-8")))
    assert len(asked) >= 4
    assert sorted(asked - exposed()) == []
