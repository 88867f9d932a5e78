"""The manifest of a dataset revision: JSON Lines, one picture a line, the same bytes for the same pictures.

    {"caption":"...","flags":[],"height":512,"sha256":"<of the PNG>","size_bytes":1234,
     "source_name":"a/b.jpg","split":"train","tags":[],"width":512}

Keys are sorted, lines are sorted by source name and digest, and all is ASCII, so that no reader splits a
line at one of the line ends that Unicode adds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from services.labeler.domain import Image
from services.labeler.rows import ExportRow


def manifest_bytes(images: Iterable[Image]) -> bytes:
    """The manifest of these pictures, in whatever order they come."""
    ordered = sorted(images, key=lambda image: (image.source_name, image.sha256))
    return "".join(_line(image) for image in ordered).encode()


def manifest_rows(data: bytes) -> list[ExportRow]:
    """The pictures of a manifest made by `manifest_bytes`."""
    records = [json.loads(line) for line in data.decode().split("\n") if line]
    return [
        ExportRow(record["source_name"], record["caption"], record["sha256"], record["size_bytes"])
        for record in records
    ]


def _line(image: Image) -> str:
    record = {
        "sha256": image.sha256,
        "size_bytes": image.size_bytes,
        "width": image.width,
        "height": image.height,
        "caption": image.caption,
        "tags": list(image.tags),
        "split": image.split.value,
        "flags": [flag.value for flag in image.flags],
        "source_name": image.source_name,
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n"
