"""Prometheus figures about the work of the trainer."""

from __future__ import annotations

from servicekit.metrics import ServiceMetrics
from services.trainer.ports import QueueFigures


class PrometheusMeters:
    """Meters over the service's registry of metrics."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._images = metrics.counter("trained_images", "Pictures that went through training steps.")
        self._leases_lost = metrics.counter("leases_lost", "Leases whose worker died or fell silent.")
        self._retries = metrics.counter("job_retries", "Jobs that went back to the queue after a failure.")
        self._ended = metrics.counter("jobs_ended", "Jobs that ended, by state.", ["state"])
        self._waiting = metrics.gauge("queue_depth", "Jobs that wait for a worker.")
        self._leased = metrics.gauge("running_jobs", "Jobs that a worker holds.")
        self._rate = metrics.gauge("images_per_second", "Pictures per second of all running jobs together.")
        self._loss = metrics.gauge("loss", "Mean of the running jobs' last losses.")
        self._pack_rate = metrics.gauge(
            "pack_images_per_second", "Pictures per second of a worker's jobs together.", ["worker"]
        )
        self._memory = metrics.gauge(
            "device_memory_bytes", "Memory that a worker has taken of its device.", ["worker"]
        )
        self._worker_restarts = metrics.counter(
            "worker_restarts", "Local workers that died and were replaced."
        )

    def trained(self, images: int) -> None:
        """See Meters."""
        self._images.inc(images)

    def leases_lost(self, count: int) -> None:
        """See Meters."""
        self._leases_lost.inc(count)

    def retried(self, count: int) -> None:
        """See Meters."""
        self._retries.inc(count)

    def ended(self, state: str) -> None:
        """See Meters."""
        self._ended.labels(state).inc()

    def queue(self, figures: QueueFigures) -> None:
        """See Meters."""
        self._waiting.set(figures.waiting)
        self._leased.set(figures.leased)
        self._rate.set(figures.images_per_second)
        self._loss.set(figures.mean_loss)
        # Workers come and go under new names.
        self._pack_rate.clear()
        self._memory.clear()
        for pack in figures.packs:
            self._pack_rate.labels(pack.worker).set(pack.images_per_second)
            self._memory.labels(pack.worker).set(pack.device_memory_bytes)

    def worker_restarted(self) -> None:
        """A local worker died and another takes its place."""
        self._worker_restarts.inc()
