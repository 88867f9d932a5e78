"""Prometheus metrics: rate, errors and duration of every RPC, and each service's own, all named
`brandloom_<service>_...`.

    metrics = ServiceMetrics("trainer")
    queue_depth = metrics.gauge("queue_depth", "Jobs that wait for a worker.")
    exporter = serve_metrics("127.0.0.1:9103", metrics)
    ...
    exporter.close()
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

# From a cached read (1 ms) to a long upload or a stream of pictures (5 minutes).
_DURATION_BUCKETS_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip


class ServiceMetrics:
    """The metrics of one service in a registry of its own, so that several services can live in one test
    process."""

    def __init__(self, service: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._prefix = f"brandloom_{service}"
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.rpc_started = self.counter("rpc_started", "RPCs begun.", ["rpc_service", "rpc_method"])
        self.rpc_handled = self.counter(
            "rpc_handled", "RPCs ended, by status code.", ["rpc_service", "rpc_method", "code"]
        )
        self.rpc_in_flight = self.gauge("rpc_in_flight", "RPCs being served.", ["rpc_service", "rpc_method"])
        self.rpc_duration = self.histogram(
            "rpc_duration_seconds",
            "Time from the first byte of an RPC to its status.",
            ["rpc_service", "rpc_method"],
            buckets=_DURATION_BUCKETS_SECONDS,
        )

    def counter(self, name: str, description: str, labels: Sequence[str] = ()) -> Counter:
        """A counter; Prometheus appends `_total` to its name."""
        return Counter(f"{self._prefix}_{name}", description, labels, registry=self.registry)

    def gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
        """A value that goes up and down."""
        return Gauge(f"{self._prefix}_{name}", description, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS,
    ) -> Histogram:
        """A distribution; `buckets` are upper bounds in the unit that the name ends with."""
        return Histogram(
            f"{self._prefix}_{name}", description, labels, registry=self.registry, buckets=buckets
        )


class MetricsExporter:
    """The HTTP server of /metrics, in a thread of its own: it answers while the event loop is busy."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stops serving and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(listen: str, metrics: ServiceMetrics) -> MetricsExporter | None:
    """Serves /metrics on `host:port` (port 0: any free one); None when `listen` is empty, which means off."""
    if not listen:
        return None
    host, _, port = listen.rpartition(":")
    server, thread = start_http_server(int(port), addr=host.strip("[]"), registry=metrics.registry)
    return MetricsExporter(server, thread)
