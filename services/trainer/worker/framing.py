"""Where a picture that is scaled to cover a size is cut."""

from __future__ import annotations

Size = tuple[int, int]
"""Height and width in pixels."""


def centre_crop(original: Size, size: Size) -> tuple[int, int]:
    """Pixels above and to the left of the centre, once `original` is scaled so that it just covers `size`.

    What families with micro-conditioning are told of a picture, beside its original size.
    """
    scale = max(size[0] / original[0], size[1] / original[1])
    top, left = (round((given * scale - kept) / 2) for given, kept in zip(original, size, strict=True))
    return top, left
