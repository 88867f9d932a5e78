"""The service's own metrics, and the Meter port over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from servicekit.metrics import ServiceMetrics
from services.inference.domain_capacity import Capacity
from services.inference.domain_changes import ResolutionUsage

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ROWS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)


class InferenceMeter:
    """What Prometheus is told of queue, batch and pictures."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._queue_depth = metrics.gauge("queue_depth", "Requests that wait for their first step.")
        self._brand_queue_depth = metrics.gauge(
            "brand_queue_depth", "Requests of a brand that wait, while there are any.", ["brand"]
        )
        self._queue_seconds = metrics.histogram(
            "queue_seconds", "Time from a request to its first row in the batch.", buckets=_SECONDS
        )
        self._requests = metrics.counter("requests", "Requests that got a place in the queue.", ["brand"])
        self._pictures = metrics.counter("pictures", "Pictures handed out.", ["brand"])
        self._row_steps = metrics.counter(
            "row_steps", "Denoising steps of single pictures, finished or not.", ["brand"]
        )
        self._attach_seconds = metrics.histogram(
            "attach_seconds",
            "Time from asking for a request's stack until its weights were ready for the rows.",
            buckets=_SECONDS,
        )
        self._rows = metrics.histogram("step_rows", "Rows in a denoising step.", buckets=_ROWS)
        self._forward_rows = metrics.counter(
            "forward_rows", "Rows that passed the denoising model, negative prompts counted too."
        )
        self._step_seconds = metrics.histogram(
            "step_seconds", "Duration of a denoising step of the whole batch.", buckets=_SECONDS
        )
        self._restarts = metrics.counter("engine_restarts", "Engine processes started after the first.")

    def queue_changed(self, waiting: int, brand: str, of_brand: int) -> None:
        """See the port."""
        self._queue_depth.set(waiting)
        if of_brand:
            self._brand_queue_depth.labels(brand=brand).set(of_brand)
        else:
            # Nobody has checked yet whether there is such a brand: names must not pile up.
            self._brand_queue_depth.remove(brand)

    def request_admitted(self, brand: str) -> None:
        """See the port."""
        self._requests.labels(brand=brand).inc()

    def request_started(self, waited_seconds: float) -> None:
        """See the port."""
        self._queue_seconds.observe(waited_seconds)

    def stack_attached(self, seconds: float) -> None:
        """See the port."""
        self._attach_seconds.observe(seconds)

    def rows_stepped(self, brand: str, steps: int) -> None:
        """See the port."""
        self._row_steps.labels(brand=brand).inc(steps)

    def picture_made(self, brand: str) -> None:
        """See the port."""
        self._pictures.labels(brand=brand).inc()

    def step_taken(self, rows: int, forward_rows: int, seconds: float) -> None:
        """The engine took a step."""
        self._rows.observe(rows)
        self._forward_rows.inc(forward_rows)
        self._step_seconds.observe(seconds)

    def engine_restarted(self) -> None:
        """The engine had died and was started again."""
        self._restarts.inc()


class _Capacity(Protocol):
    def capacity(self) -> Capacity: ...


class CapacityCollector(Collector):
    """Reads engine and caches at the moment of each scrape."""

    def __init__(self, service: _Capacity) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Gauges of the engine and figures of each cache."""
        capacity = self._service.capacity()
        prefix = "brandloom_inference"
        yield GaugeMetricFamily(
            f"{prefix}_engine_ready", "Whether the engine takes jobs.", value=float(capacity.engine_ready)
        )
        yield GaugeMetricFamily(
            f"{prefix}_active_rows", "Rows in the denoising batch.", value=capacity.active_rows
        )
        used = GaugeMetricFamily(f"{prefix}_cache_used_bytes", "Bytes in a cache.", labels=["level"])
        hits = CounterMetricFamily(f"{prefix}_cache_hits", "Look-ups that found something.", labels=["level"])
        misses = CounterMetricFamily(
            f"{prefix}_cache_misses", "Look-ups that found nothing.", labels=["level"]
        )
        for cache in capacity.caches:
            used.add_metric([cache.level], cache.used_bytes)
            hits.add_metric([cache.level], cache.hits)
            misses.add_metric([cache.level], cache.misses)
        yield from (used, hits, misses)
        yield from _of_resolutions(capacity.resolutions)


def _of_resolutions(usage: ResolutionUsage) -> Iterable[Metric]:
    prefix = "brandloom_inference_resolution"
    yield CounterMetricFamily(
        f"{prefix}_hits", "Stacks whose versions were known without a call to the registry.", usage.hits
    )
    yield CounterMetricFamily(f"{prefix}_misses", "Stacks that the registry was asked about.", usage.misses)
    yield CounterMetricFamily(
        f"{prefix}_stale_hits", "Of the hits, those while the registry was away.", usage.stale_hits
    )
    yield GaugeMetricFamily(f"{prefix}_entries", "References whose meaning is known.", usage.entries)
    yield GaugeMetricFamily(
        f"{prefix}_age_seconds",
        "Time since which the registry's changes are not followed; 0 while they are.",
        usage.age_seconds,
    )
