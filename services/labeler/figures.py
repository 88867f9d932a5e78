"""The labeler's own metrics."""

from __future__ import annotations

from typing import Final

from servicekit.metrics import ServiceMetrics
from services.labeler.domain import UploadOutcome

_PICTURE_BUCKETS_SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class PrometheusMeter:
    """Meter over a ServiceMetrics."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._files = metrics.counter("uploaded_files", "Files that came in, by outcome.", ["outcome"])
        for outcome in UploadOutcome:
            self._files.labels(outcome.value)
        self._captions = metrics.counter("captions", "Captions that the captioner wrote.")
        self._failures = metrics.counter("caption_failures", "Pictures that the captioner failed over.")
        self._speed = metrics.gauge("captions_per_second", "Captions per second in the last batch.")
        self._seconds = metrics.histogram(
            "caption_seconds", "Time for one picture in its batch.", buckets=_PICTURE_BUCKETS_SECONDS
        )
        self._waiting = metrics.gauge("queue_depth", "Label jobs that wait for a runner.")
        self._ended = metrics.counter("label_jobs_ended", "Label jobs that came to an end.", ["state"])

    def uploaded(self, outcome: UploadOutcome) -> None:
        """One file came in."""
        self._files.labels(outcome.value).inc()

    def captioned(self, pictures: int, seconds: float) -> None:
        """One batch was captioned."""
        if pictures and seconds > 0:
            self._captions.inc(pictures)
            self._speed.set(pictures / seconds)
            self._seconds.observe(seconds / pictures)

    def caption_failed(self, pictures: int) -> None:
        """Pictures got no caption."""
        self._failures.inc(pictures)

    def jobs_waiting(self, count: int) -> None:
        """So many jobs are queued."""
        self._waiting.set(count)

    def job_ended(self, state: str) -> None:
        """A job came to its final state."""
        self._ended.labels(state).inc()
