"""Which picture a row of a caption file means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from servicekit.errors import FieldViolation, InvalidArgument
from services.labeler import file_names
from services.labeler.domain import CaptionChange, CaptionSource, Image
from services.labeler.rows import CaptionRow

MAX_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class MatchedCaptions:
    """The captions to set, and how many rows named no picture."""

    changes: tuple[CaptionChange, ...]
    unknown: int


class _Names:
    """Pictures by each of the names that a row may use: the whole one wins over the one without folders."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._tables: list[dict[str, list[Image]]] = [defaultdict(list) for _ in range(4)]
        for image in images:
            name = image.source_name
            stem = file_names.stem(name)
            for table, key in zip(
                self._tables, (name, file_names.base(name), stem, file_names.base(stem)), strict=True
            ):
                table[key].append(image)

    def find(self, row: CaptionRow) -> list[Image]:
        whole, bare = self._tables[2:] if row.by_stem else self._tables[:2]
        if row.file_name in whole:
            return whole[row.file_name]
        # A row with folders means that folder and no other.
        return bare.get(row.file_name, []) if "/" not in row.file_name else []


def matched(rows: Sequence[CaptionRow], images: Iterable[Image], *, ignore_unknown: bool) -> MatchedCaptions:
    """The captions that the rows give to pictures; InvalidArgument naming rows that are unknown, doubtful
    or repeated.
    """
    names = _Names(images)
    faults: list[FieldViolation] = []
    given: dict[str, tuple[CaptionRow, CaptionChange]] = {}
    unknown = 0
    for row in rows:
        found = names.find(row)
        if not found:
            unknown += 1
            if not ignore_unknown:
                faults.append(
                    FieldViolation(row.place, f"no picture of the dataset is named {row.file_name!r}")
                )
        elif len(found) > 1:
            others = ", ".join(image.source_name for image in found[:3])
            faults.append(FieldViolation(row.place, f"{row.file_name!r} may be any of {others}"))
        elif (earlier := given.get(found[0].key.image)) and earlier[0].text != row.text:
            faults.append(
                FieldViolation(
                    row.place, f"gives another caption than {earlier[0].place} to the same picture"
                )
            )
        else:
            source = CaptionSource.IMPORTED if row.text else CaptionSource.NONE
            change = CaptionChange(image=found[0].key.image, caption=row.text, source=source)
            given[found[0].key.image] = (row, change)
    if faults:
        raise InvalidArgument(faults[:MAX_FAULTS], reason="CAPTION_FILE_MISMATCH")
    return MatchedCaptions(tuple(change for _, change in given.values()), unknown)
