"""The process that decodes pictures: `python -m services.labeler.picture_worker <memory limit in bytes>`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from servicekit.child_frames import Header, WorkerFaultError, run_worker
from services.labeler.pictures import PictureError, normalise


def handle(header: Header, parts: list[bytes]) -> tuple[Header, Sequence[bytes]]:
    """`{"max_pixels"}` and the file's bytes -> size, format and fingerprint, and the PNG and thumbnail."""
    try:
        picture = normalise(parts[0], max_pixels=header["max_pixels"])
    except PictureError as error:
        raise WorkerFaultError(error.reason, str(error)) from error
    answer = {
        "width": picture.width,
        "height": picture.height,
        "source_format": picture.source_format,
        "pixel_sha256": picture.fingerprint.pixel_sha256,
        "perceptual_hash": picture.fingerprint.perceptual_hash,
    }
    return answer, (picture.png, picture.fingerprint.thumbnail)


if __name__ == "__main__":
    run_worker(handle, memory_bytes=int(sys.argv[1]))
