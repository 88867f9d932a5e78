"""Texts of datasets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from brandloom import _names
from brandloom._calls import given, mask
from brandloom._convert.fields import from_proto
from brandloom._files import OnProgress, file_source
from brandloom._transport import Link
from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from brandloom.types.labeler import Dataset, Text, TextUpload


class AsyncTexts:
    """Prompts with responses, or conversations, for a language model to learn from."""

    def __init__(self, labeler: Link) -> None:
        self._labeler = labeler

    async def upload(
        self,
        dataset: str | Dataset,
        path: str | Path,
        *,
        split: str = "",
        on_progress: OnProgress | None = None,
    ) -> TextUpload:
        """Sends a file of JSON Lines: all its texts are taken, or none.

        A line is `{"prompt": ..., "response": ...}` or `{"messages": [{"role": ..., "content": ...}, ...]}`,
        with `"split"` if it likes; `split` (`train` or `validation`) goes for all lines. Texts that are there
        already stay as they are.
        """
        source = file_source(path)
        header = labeler_pb2.UploadTextsHeader(
            parent=_names.dataset(dataset), file_name=source.name, split=split
        )
        messages = partial(
            source.messages,
            labeler_pb2.UploadTextsRequest(header=header),
            lambda chunk: labeler_pb2.UploadTextsRequest(chunk=chunk),
            on_progress,
        )
        return from_proto(TextUpload, await self._labeler.send("UploadTexts", messages))

    async def list(
        self,
        dataset: str | Dataset,
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[Text]:
        """Texts of a dataset in the order of their upload, such as those with `filter='response:"Hello"'`."""
        request = labeler_pb2.ListTextsRequest(
            parent=_names.dataset(dataset), filter=filter, order_by=order_by
        )
        async for message in self._labeler.items("ListTexts", request, "texts"):
            yield from_proto(Text, message)

    async def get(self, text: str | Text) -> Text:
        """One text as it is now."""
        request = labeler_pb2.GetTextRequest(name=_names.text(text))
        return from_proto(Text, await self._labeler.call("GetText", request))

    async def update(
        self,
        text: str | Text,
        *,
        split: str | None = None,
        excluded: bool | None = None,
        etag: str = "",
    ) -> Text:
        """Changes the split (`train` or `validation`) or whether revisions leave it out."""
        changes = given(split=split, excluded=excluded)
        message = resources_pb2.Text(name=_names.text(text), etag=etag, **changes)
        request = labeler_pb2.UpdateTextRequest(text=message, update_mask=mask(changes))
        return from_proto(Text, await self._labeler.call("UpdateText", request))

    async def delete(self, text: str | Text, *, etag: str = "") -> None:
        """Takes a text out of the dataset; sealed revisions keep it."""
        request = labeler_pb2.DeleteTextRequest(name=_names.text(text), etag=etag)
        await self._labeler.call("DeleteText", request)
