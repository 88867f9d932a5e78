"""What is held back for evaluations: pictures by `brandloom train`, texts by `brandloom texts upload`."""

from __future__ import annotations

from typing import TypeVar

from brandloom import Client, Dataset, Image, Text

VALIDATION = "validation"
Item = TypeVar("Item", Image, Text)


def hold_out(client: Client, dataset: Dataset, share: float) -> int:
    """Marks pictures for validation until `share` of them are; gives how many are then.

    Those that are marked stay so: what a LoRA was evaluated on is not learned in a later run. Which ones
    follow depends on their content alone. One picture at least is held out, and one is left to learn from.
    """
    images = [image for image in client.datasets.images(dataset) if not image.excluded and not image.failure]
    chosen = more_held_out(images, share)
    for image in chosen:
        client.datasets.update_image(image, split=VALIDATION)
    return len(chosen) + sum(image.split == VALIDATION for image in images)


def hold_out_texts(client: Client, dataset: str | Dataset, share: float) -> int:
    """The same for texts."""
    texts = [text for text in client.texts.list(dataset) if not text.excluded]
    chosen = more_held_out(texts, share)
    for text in chosen:
        client.texts.update(text, split=VALIDATION)
    return len(chosen) + sum(text.split == VALIDATION for text in texts)


def more_held_out(items: list[Item], share: float) -> list[Item]:
    """Those to mark beside those that are marked."""
    free = sorted((item for item in items if item.split != VALIDATION), key=_digest)
    wanted = max(1, round(share * len(items))) - (len(items) - len(free))
    return free[: max(0, min(wanted, len(free) - 1))]


def _digest(item: Image | Text) -> str:
    if isinstance(item, Text):
        return item.sha256
    return item.artifact.sha256 if item.artifact else item.name
