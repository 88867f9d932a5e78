"""What Prometheus is told of the trainer's packs."""

from __future__ import annotations

from servicekit.metrics import ServiceMetrics
from services.trainer.metrics import PrometheusMeters
from services.trainer.ports import PackFigures, QueueFigures


def test_each_worker_has_its_figures_for_as_long_as_it_trains() -> None:
    metrics = ServiceMetrics("trainer")
    meters = PrometheusMeters(metrics)

    def told(name: str) -> dict[str, float]:
        samples = [sample for family in metrics.registry.collect() for sample in family.samples]
        return {
            sample.labels["worker"]: sample.value
            for sample in samples
            if sample.name == f"brandloom_trainer_{name}"
        }

    packs = (PackFigures("host.pid-1", 24.0, 1 << 30), PackFigures("host.pid-2", 6.0, 2 << 30))
    meters.queue(QueueFigures(0, 3, packs=packs))
    assert told("pack_images_per_second") == {"host.pid-1": 24.0, "host.pid-2": 6.0}
    meters.queue(QueueFigures(0, 1, packs=packs[1:]))
    assert told("device_memory_bytes") == {"host.pid-2": float(2 << 30)}
