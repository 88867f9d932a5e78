"""Captions: one by one, all at once, and from files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from brandloom import _names
from brandloom._convert.fields import enum_to_number, from_proto
from brandloom._files import OnProgress, file_source
from brandloom._transport import Link
from brandloom.api.labeler.v1 import labeler_pb2
from brandloom.errors import ConfigurationError
from brandloom.types.labeler import CaptionEdit, CaptionFormat, CaptionImport, Dataset, Image

_FORMATS = labeler_pb2.CaptionFormat.DESCRIPTOR
_FORMAT_OF_SUFFIX: Final = {
    ".csv": CaptionFormat.CSV,
    ".jsonl": CaptionFormat.JSONL,
    ".zip": CaptionFormat.TXT_ZIP,
}


class AsyncCaptions:
    """What the pictures of a dataset are said to show. `filter` picks pictures as `datasets.images` does."""

    def __init__(self, labeler: Link) -> None:
        self._labeler = labeler

    async def set(self, image: str | Image, caption: str, *, etag: str = "") -> Image:
        """Writes one caption, as a reviewer."""
        request = labeler_pb2.UpdateCaptionRequest(name=_names.image(image), caption=caption, etag=etag)
        return from_proto(Image, await self._labeler.call("UpdateCaption", request))

    async def add_trigger_word(
        self,
        dataset: str | Dataset,
        trigger_word: str,
        *,
        filter: str = "",  # noqa: A002
    ) -> CaptionEdit:
        """Puts `trigger_word, ` before every caption that does not have it."""
        return await self._edit(dataset, filter, trigger_word=trigger_word)

    async def add_prefix(
        self,
        dataset: str | Dataset,
        prefix: str,
        *,
        filter: str = "",  # noqa: A002
    ) -> CaptionEdit:
        """Puts a text before every caption, as it is."""
        return await self._edit(dataset, filter, prefix=prefix)

    async def add_suffix(
        self,
        dataset: str | Dataset,
        suffix: str,
        *,
        filter: str = "",  # noqa: A002
    ) -> CaptionEdit:
        """Puts a text after every caption, as it is."""
        return await self._edit(dataset, filter, suffix=suffix)

    async def replace(
        self,
        dataset: str | Dataset,
        find: str,
        replacement: str,
        *,
        ignore_case: bool = False,
        whole_words: bool = False,
        filter: str = "",  # noqa: A002
    ) -> CaptionEdit:
        """Replaces a text in every caption."""
        edit = labeler_pb2.FindReplace(
            find=find, replace=replacement, ignore_case=ignore_case, whole_words=whole_words
        )
        return await self._edit(dataset, filter, find_replace=edit)

    async def _edit(
        self, dataset: str | Dataset, image_filter: str, **edit: str | labeler_pb2.FindReplace
    ) -> CaptionEdit:
        parts: dict[str, object] = {"parent": _names.dataset(dataset), "filter": image_filter, **edit}
        request = labeler_pb2.BatchUpdateCaptionsRequest(**parts)  # type: ignore[arg-type]
        return from_proto(CaptionEdit, await self._labeler.call("BatchUpdateCaptions", request))

    async def import_file(
        self,
        dataset: str | Dataset,
        path: str | Path,
        *,
        format: CaptionFormat | None = None,  # noqa: A002
        ignore_unknown: bool = False,
        on_progress: OnProgress | None = None,
    ) -> CaptionImport:
        """Applies captions from a .csv, .jsonl or .zip of .txt files: all rows or none.

        The format is told by the suffix unless given. Rows that name no picture are refused, or passed over
        with `ignore_unknown`.
        """
        source = file_source(path)
        chosen = format or _FORMAT_OF_SUFFIX.get(source.path.suffix.lower())
        if chosen is None:
            raise ConfigurationError(f"{source.path}: captions come as .csv, .jsonl or a .zip of .txt files")
        header = labeler_pb2.ImportCaptionsHeader(
            parent=_names.dataset(dataset),
            format=enum_to_number(_FORMATS, chosen),
            ignore_unknown=ignore_unknown,
        )
        messages = partial(
            source.messages,
            labeler_pb2.ImportCaptionsRequest(header=header),
            lambda chunk: labeler_pb2.ImportCaptionsRequest(chunk=chunk),
            on_progress,
        )
        return from_proto(CaptionImport, await self._labeler.send("ImportCaptions", messages))
