"""A dataset holds pictures or texts, never both: what is refused for the sake of that. Pure rules."""

from __future__ import annotations

from servicekit.errors import FailedPrecondition
from services.labeler.domain import Dataset


def require_no_texts(dataset: Dataset) -> None:
    """FailedPrecondition for what is about pictures, where the dataset holds texts."""
    if dataset.counts.texts:
        raise _holds(dataset, "texts", "pictures and captions", "DATASET_HOLDS_TEXTS")


def require_no_pictures(dataset: Dataset) -> None:
    """FailedPrecondition for what is about texts, where the dataset holds pictures."""
    if dataset.counts.images:
        raise _holds(dataset, "pictures", "texts", "DATASET_HOLDS_PICTURES")


def _holds(dataset: Dataset, held: str, others: str, reason: str) -> FailedPrecondition:
    name = dataset.key.name
    return FailedPrecondition(
        f"{name} holds {held}, so it takes no {others}: a dataset holds pictures or texts, never both",
        reason=reason,
        metadata={"resource_name": name},
    )
