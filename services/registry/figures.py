"""The registry's own metrics."""

from __future__ import annotations

from servicekit.metrics import ServiceMetrics


class PrometheusFigures:
    """Figures as Prometheus metrics `brandloom_registry_...`."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._versions = metrics.counter("versions_registered", "Versions registered.", ["format", "family"])
        self._sizes = metrics.histogram(
            "version_size_bytes",
            "Size of the files of registered versions.",
            buckets=(1e5, 1e6, 5e6, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9, 2e9),
        )
        self._bytes = metrics.counter("bytes", "Bytes of LoRA files taken in and handed out.", ["direction"])
        self._stacks = metrics.counter("stacks_resolved", "Stacks asked for, by outcome.", ["outcome"])
        self._references = metrics.counter("references_resolved", "References in those stacks.")
        self._watchers = metrics.gauge("change_watchers", "Open WatchChanges streams.")

    def version_registered(self, format_name: str, family: str, size_bytes: int) -> None:
        self._versions.labels(format_name, family).inc()
        self._sizes.observe(size_bytes)

    def bytes_moved(self, direction: str, count: int) -> None:
        self._bytes.labels(direction).inc(count)

    def stack_resolved(self, outcome: str, references: int) -> None:
        self._stacks.labels(outcome).inc()
        self._references.inc(references)

    def watchers_changed(self, by: int) -> None:
        self._watchers.inc(by)
