"""Texts of datasets: taken from files, read, marked and deleted."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import datetime

from servicekit.clock import Clock
from servicekit.errors import Aborted, InvalidArgument, ResourceExhausted
from servicekit.ids import new_id
from services.labeler import contents, file_names
from services.labeler.domain import ListQuery, Page, Split
from services.labeler.domain_texts import Text, TextChanges, TextLine, TextTotals, TextUpload
from services.labeler.keys import DatasetKey, TextKey
from services.labeler.limits import UploadLimits
from services.labeler.ports import Records
from services.labeler.text_lines import digest_of, line_of, parsed_lines


class TextService:
    """Takes files of texts, and keeps the texts."""

    def __init__(self, records: Records, clock: Clock, limits: UploadLimits) -> None:
        self._records = records
        self._clock = clock
        self._limits = limits

    async def upload(
        self, parent: DatasetKey, file_name: str, data: bytes, *, split: Split | None
    ) -> TextUpload:
        """Puts all texts of the file into the dataset in their order, or none; `split` goes for all of them.

        A text that the dataset has already stays as it is. InvalidArgument names every faulty line,
        ResourceExhausted when there is no room for them all.
        """
        name = _checked_name(file_name)
        async with self._records.snapshot() as unit:
            contents.require_no_pictures(await unit.datasets.get(parent))
            before = await unit.texts.totals(parent)
        lines = await asyncio.to_thread(parsed_lines, data, name, self._limits, form=before.form)
        now = self._clock.now()
        new = await asyncio.to_thread(_new_texts, parent, name, lines, split, now)
        async with self._records.transaction() as unit:
            contents.require_no_pictures(await unit.datasets.get(parent, lock=True))
            totals = await unit.texts.totals(parent)
            if totals.form not in {None, lines[0].words.form}:
                raise Aborted(f"texts of another form came into {parent.name} meanwhile; send these again")
            known = await unit.texts.known(parent, new.keys())
            added = [text for digest, text in new.items() if digest not in known]
            self._require_room(parent, totals, added)
            first = totals.last_position + 1
            await unit.texts.add(
                [dataclasses.replace(text, position=first + index) for index, text in enumerate(added)]
            )
        return TextUpload(added=len(added), unchanged=len(lines) - len(added))

    async def get(self, key: TextKey) -> Text:
        """NotFound when there is none."""
        async with self._records.snapshot() as unit:
            return await unit.texts.get(key)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Text]:
        """Texts of a dataset in the order of their upload, unless asked otherwise."""
        async with self._records.snapshot() as unit:
            await unit.datasets.get(parent)
            return await unit.texts.page(parent, query)

    async def update(self, key: TextKey, changes: TextChanges, *, etag: str) -> Text:
        """Sets split and `excluded`."""
        async with self._records.transaction() as unit:
            text = await unit.texts.get(key, lock=True)
            _check_etag(key, text, etag)
            split = text.split if changes.split is None else changes.split
            changed = dataclasses.replace(
                text,
                split=split,
                size_bytes=len(line_of(text.words, split)),
                excluded=text.excluded if changes.excluded is None else changes.excluded,
                update_time=self._clock.now(),
                etag=new_id(),
            )
            await unit.texts.replace(changed)
            return changed

    async def delete(self, key: TextKey, *, etag: str) -> None:
        """Removes the text; sealed revisions keep it."""
        async with self._records.transaction() as unit:
            _check_etag(key, await unit.texts.get(key, lock=True), etag)
            await unit.texts.delete(key)

    def _require_room(self, parent: DatasetKey, totals: TextTotals, added: Sequence[Text]) -> None:
        limits = self._limits
        count = totals.count + len(added)
        size_bytes = totals.size_bytes + sum(text.size_bytes for text in added)
        if count <= limits.max_dataset_texts and size_bytes <= limits.max_dataset_text_bytes:
            return
        raise ResourceExhausted(
            f"{parent.name} would hold {count} texts of {size_bytes} bytes; a dataset takes "
            f"{limits.max_dataset_texts} of {limits.max_dataset_text_bytes} bytes together",
            reason="DATASET_FULL",
            metadata={"resource_name": parent.name},
        )


def _new_texts(
    parent: DatasetKey, name: str, lines: Sequence[TextLine], split: Split | None, now: datetime
) -> dict[str, Text]:
    """By digest, the first of those that say the same. Positions are still to be given."""
    texts: dict[str, Text] = {}
    for line in lines:
        digest = digest_of(line.words)
        if digest in texts:
            continue
        chosen = split or line.split or Split.TRAIN
        texts[digest] = Text(
            key=TextKey(parent, new_id()),
            words=line.words,
            split=chosen,
            excluded=False,
            position=0,
            source_name=name,
            line_number=line.number,
            sha256=digest,
            size_bytes=len(line_of(line.words, chosen)),
            create_time=now,
            update_time=now,
            etag=new_id(),
        )
    return texts


def _checked_name(file_name: str) -> str:
    try:
        return file_names.checked(file_name)
    except file_names.FileNameError as error:
        raise InvalidArgument.of("header.file_name", str(error)) from None


def _check_etag(key: TextKey, text: Text, sent: str) -> None:
    if sent and sent != text.etag:
        raise Aborted.stale_etag(key.name)
