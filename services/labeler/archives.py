"""Reads .zip archives from outside: nothing is written to disk, everything is counted, names are only
labels.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Generator
from typing import BinaryIO, Final

from services.labeler import file_names
from services.labeler.domain import Failure
from services.labeler.limits import UploadLimits
from services.labeler.rows import ArchivedFile

_LOCAL_HEADER: Final = b"PK\x03\x04"
_EMPTY_ARCHIVE: Final = b"PK\x05\x06"
_END_RECORD: Final = struct.Struct("<4s4H2LH")
_MAX_COMMENT_BYTES: Final = 0xFFFF
# Per file: the fixed part of a central entry, a name, extra fields; what is beyond is there to hurt.
_MAX_DIRECTORY_BYTES_PER_FILE: Final = 1024
_ENCRYPTED: Final = 0x1
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_RATIO_MATTERS_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 20


class ArchiveError(Exception):
    """The archive as a whole is refused; `failure` says why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(reason, message)


def is_archive(first_bytes: bytes) -> bool:
    """Whether a file that begins so is a .zip."""
    return first_bytes.startswith((_LOCAL_HEADER, _EMPTY_ARCHIVE))


def read_archive(file: BinaryIO, limits: UploadLimits) -> Generator[ArchivedFile, None, None]:
    """The files in the order of the directory; folders and what operating systems leave behind are passed
    over.

    Blocks while it reads. ArchiveError, before the first file, when the archive is broken or over a limit
    as a whole.
    """
    _check_directory(file, limits)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ArchiveError("ARCHIVE_UNREADABLE", f"the archive cannot be read: {error}"[:300]) from error
    with archive:
        members = [member for member in archive.infolist() if not _is_passed_over(member)]
        _check_members(members, limits)
        seen: set[str] = set()
        for member in members:
            yield _read_member(archive, member, limits, seen)


def _check_directory(file: BinaryIO, limits: UploadLimits) -> None:
    """Refuses a directory too long to be read into memory, going by the end record alone."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_RECORD.size - _MAX_COMMENT_BYTES))
    tail = file.read()
    file.seek(0)
    start = tail.rfind(_EMPTY_ARCHIVE)
    if start < 0 or len(tail) - start < _END_RECORD.size:
        raise ArchiveError("ARCHIVE_UNREADABLE", "the archive is cut short: its directory is missing")
    _, _, _, _, entries, directory_bytes, _, _ = _END_RECORD.unpack_from(tail, start)
    if entries == 0xFFFF or directory_bytes == 0xFFFFFFFF:
        raise ArchiveError(
            "ARCHIVE_TOO_LARGE", "archives of more than 65534 files or 4 GiB (ZIP64) are not taken"
        )
    # Twice the files: folders and an operating system's companions count there too.
    if directory_bytes > 2 * limits.max_archive_files * _MAX_DIRECTORY_BYTES_PER_FILE or entries > max(
        64, 3 * limits.max_archive_files
    ):
        raise _too_many(limits)


def _check_members(members: list[zipfile.ZipInfo], limits: UploadLimits) -> None:
    if len(members) > limits.max_archive_files:
        raise _too_many(limits)
    total = sum(member.file_size for member in members)
    if total > limits.max_archive_total_bytes:
        raise ArchiveError(
            "ARCHIVE_TOO_LARGE",
            f"the archive unpacks to {total} bytes; {limits.max_archive_total_bytes} are allowed",
        )


def _too_many(limits: UploadLimits) -> ArchiveError:
    return ArchiveError(
        "ARCHIVE_TOO_MANY_FILES", f"the archive has more than {limits.max_archive_files} files"
    )


def _is_passed_over(member: zipfile.ZipInfo) -> bool:
    # Not is_dir(), which takes it for granted that there is a name.
    return member.filename.endswith("/") or file_names.is_junk(member.filename.replace("\\", "/"))


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: UploadLimits, seen: set[str]
) -> ArchivedFile:
    try:
        # orig_filename: zipfile itself cuts names at a NUL.
        name = file_names.checked(member.orig_filename)
    except file_names.FileNameError as error:
        return ArchivedFile(file_names.shown(member.orig_filename), Failure("FILE_NAME_REFUSED", str(error)))
    if name in seen:
        return ArchivedFile(name, Failure("FILE_NAME_DUPLICATE", "the archive holds two files of this name"))
    seen.add(name)
    refusal = _refusal(member, limits)
    return ArchivedFile(name, refusal or _content(archive, member, limits))


def _refusal(member: zipfile.ZipInfo, limits: UploadLimits) -> Failure | None:
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return Failure("ARCHIVE_ENTRY_REFUSED", "the archive holds a link or another special file here")
    if member.flag_bits & _ENCRYPTED:
        return Failure("ARCHIVE_ENCRYPTED", "the file is encrypted")
    if member.compress_type not in _METHODS:
        return Failure(
            "ARCHIVE_METHOD_UNSUPPORTED", "the file is packed by a method other than store and deflate"
        )
    if member.file_size > limits.max_file_bytes:
        return _too_large(limits)
    if (
        member.file_size > _RATIO_MATTERS_BYTES
        and member.file_size > limits.max_compression_ratio * member.compress_size
    ):
        return Failure(
            "ARCHIVE_RATIO_TOO_HIGH",
            f"the file unpacks to more than {limits.max_compression_ratio} times its packed size",
        )
    return None


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: UploadLimits) -> bytes | Failure:
    pieces: list[bytes] = []
    size = 0
    try:
        with archive.open(member) as stream:
            while piece := stream.read(_PIECE_BYTES):
                pieces.append(piece)
                size += len(piece)
                if size > limits.max_file_bytes:  # the directory may have lied
                    return _too_large(limits)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        NotImplementedError,
        ValueError,
    ) as error:
        return Failure("ARCHIVE_UNREADABLE", f"the file cannot be unpacked: {error}"[:300])
    content = b"".join(pieces)
    if is_archive(content):
        return Failure("ARCHIVE_NESTED", "archives within archives are not opened")
    return content


def _too_large(limits: UploadLimits) -> Failure:
    return Failure("FILE_TOO_LARGE", f"the file has more than {limits.max_file_bytes} bytes")
