from __future__ import annotations

import urllib3

from servicekit.metrics import ServiceMetrics, serve_metrics


def test_metrics_are_served_under_the_name_of_the_service() -> None:
    metrics = ServiceMetrics("trainer")
    metrics.gauge("queue_depth", "Jobs that wait for a worker.").set(3)
    metrics.counter("pictures", "Pictures seen.", ["brand"]).labels(brand="acme").inc(5)
    metrics.histogram("step_seconds", "A training step.", buckets=(0.1, 1.0)).observe(0.5)
    exporter = serve_metrics("127.0.0.1:0", metrics)
    assert exporter is not None
    answer = urllib3.request("GET", f"http://127.0.0.1:{exporter.port}/metrics", retries=False)
    exporter.close()
    text = answer.data.decode()
    assert answer.status == 200
    assert "brandloom_trainer_queue_depth 3.0" in text
    assert 'brandloom_trainer_pictures_total{brand="acme"} 5.0' in text
    assert 'brandloom_trainer_step_seconds_bucket{le="1.0"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_no_address_means_no_server() -> None:
    assert serve_metrics("", ServiceMetrics("trainer")) is None


def test_two_services_may_live_in_one_process() -> None:
    first, second = ServiceMetrics("registry"), ServiceMetrics("registry")
    first.gauge("loras", "LoRAs.").set(1)
    second.gauge("loras", "LoRAs.").set(2)
    assert first.registry.get_sample_value("brandloom_registry_loras") == 1
