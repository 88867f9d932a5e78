"""Pictures that `brandloom train` holds back for evaluations."""

from __future__ import annotations

from brandloom import Client, Dataset, Image

VALIDATION = "validation"


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


def more_held_out(images: list[Image], share: float) -> list[Image]:
    """The pictures to mark beside those that are marked."""
    free = sorted((image for image in images if image.split != VALIDATION), key=_digest)
    wanted = max(1, round(share * len(images))) - (len(images) - len(free))
    return free[: max(0, min(wanted, len(free) - 1))]


def _digest(image: Image) -> str:
    return image.artifact.sha256 if image.artifact else image.name
