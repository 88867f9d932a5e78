"""Archives that are broken or hostile."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.labeler import file_names
from services.labeler.archives import ArchiveError, is_archive, read_archive
from services.labeler.domain import Failure
from services.labeler.limits import UploadLimits
from services.labeler.rows import ArchivedFile
from tests.fixtures.pictures import zipped

LIMITS = UploadLimits(
    max_file_bytes=4 << 20, max_archive_files=5, max_archive_total_bytes=8 << 20, max_compression_ratio=100
)


def read(data: bytes, limits: UploadLimits = LIMITS) -> list[ArchivedFile]:
    return list(read_archive(io.BytesIO(data), limits))


def reasons(data: bytes, limits: UploadLimits = LIMITS) -> list[str]:
    return [file.content.reason if isinstance(file.content, Failure) else "" for file in read(data, limits)]


def refusal(data: bytes, limits: UploadLimits = LIMITS) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(data, limits)
    return caught.value.failure.reason


def entry(name: str, mode: int = 0, data: bytes = b"x") -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        writer.writestr(info, data)
    return archive.getvalue()


def test_files_come_in_their_order() -> None:
    files = {"b/b.png": b"b", "a.png": b"a", "b/": b"", "__MACOSX/b/._b.png": b"", "Thumbs.db": b""}
    assert read(zipped(files)) == [ArchivedFile("b/b.png", b"b"), ArchivedFile("a.png", b"a")]
    assert read(zipped({})) == []
    assert is_archive(zipped({})) and is_archive(zipped(files)) and not is_archive(b"\x89PNG")


@pytest.mark.parametrize(
    "name",
    ["../a.png", "a/../../b.png", "/etc/passwd", "C:\\a.png", "..\\a.png", "a\x01b.png", "x" * 300, "./."],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    (file,) = read(entry(name))
    assert isinstance(file.content, Failure) and file.content.reason == "FILE_NAME_REFUSED"


def test_a_name_cut_short_by_a_nul_is_seen_whole() -> None:
    data = entry("a.pngXevil").replace(b"a.pngXevil", b"a.png\x00evil")
    assert reasons(data) == ["FILE_NAME_REFUSED"]


def test_windows_folders_are_folders() -> None:
    assert read(entry("set\\a.png")) == [ArchivedFile("set/a.png", b"x")]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for name in ("a.png", "a.png", "./a.png"):
            writer.writestr(name, b"x")
    assert reasons(archive.getvalue()) == ["", "FILE_NAME_DUPLICATE", "FILE_NAME_DUPLICATE"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(kind: int) -> None:
    assert reasons(entry("a.png", kind | 0o777, b"/etc/passwd")) == ["ARCHIVE_ENTRY_REFUSED"]
    assert reasons(entry("a.png", stat.S_IFREG | 0o644)) == [""]


def test_encrypted_and_exotic_files() -> None:
    data = bytearray(entry("a.png"))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    assert reasons(bytes(data)) == ["ARCHIVE_ENCRYPTED"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as writer:
        writer.writestr("a.png", b"x")
    assert reasons(archive.getvalue()) == ["ARCHIVE_METHOD_UNSUPPORTED"]


def test_an_archive_within() -> None:
    assert reasons(zipped({"a.png": zipped({"b.png": b"x"}), "c.png": b"x"})) == ["ARCHIVE_NESTED", ""]


def test_bombs() -> None:
    assert reasons(zipped({"bomb": bytes(4 << 20), "small": bytes(1 << 20)})) == [
        "ARCHIVE_RATIO_TOO_HIGH",
        "",
    ]
    assert reasons(zipped({"large": bytes((4 << 20) + 1)})) == ["FILE_TOO_LARGE"]
    assert refusal(zipped({str(number): bytes(3 << 20) for number in range(3)})) == "ARCHIVE_TOO_LARGE"
    assert refusal(zipped({str(number): b"" for number in range(6)})) == "ARCHIVE_TOO_MANY_FILES"
    assert refusal(zipped({f"folder{number}/": b"" for number in range(65)})) == "ARCHIVE_TOO_MANY_FILES"


def test_a_directory_that_lies_about_sizes() -> None:
    data = zipped({"a.png": bytes(3 << 20), "b.png": b"b"})
    at = data.index(b"PK\x01\x02") + 24
    assert struct.unpack_from("<L", data, at) == (3 << 20,)
    assert reasons(data[:at] + struct.pack("<L", 10) + data[at + 4 :]) == ["ARCHIVE_UNREADABLE", ""]


def test_damaged_bytes_cost_one_file() -> None:
    data = bytearray(zipped({"a.png": bytes(range(256)) * 4, "b.png": b"b"}))
    data[60] ^= 0xFF
    assert reasons(bytes(data)) == ["ARCHIVE_UNREADABLE", ""]


def test_a_huge_directory_is_not_read() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, 1 << 30, 0, 0)
    assert refusal(b"PK\x03\x04" + end) == "ARCHIVE_TOO_MANY_FILES"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0)
    assert refusal(b"PK\x03\x04" + end) == "ARCHIVE_TOO_LARGE"


def test_a_file_without_a_name_is_refused_alone() -> None:
    data = zipped({"a": b"a" * 50, "b.png": b"b"})
    assert reasons(data.replace(b"a", b"\0", 1).replace(b"\0\0\0a", b"\0\0\0\0")) == ["FILE_NAME_REFUSED", ""]


@given(st.binary(max_size=400), st.integers(0, 400))
def test_noise_is_refused_or_read_and_nothing_else(noise: bytes, at: int) -> None:
    data = zipped({"a.png": b"a" * 50, "b/c.png": b"c" * 50})
    spoilt = data[:at] + noise + data[at + len(noise) :]
    try:
        for file in read(spoilt):
            assert isinstance(file.content, bytes | Failure)
    except ArchiveError as error:
        assert error.failure.reason.startswith("ARCHIVE_")


@given(st.text(max_size=40))
def test_checked_names_stay_within(name: str) -> None:
    try:
        clean = file_names.checked(name)
    except file_names.FileNameError:
        assert "\0" not in file_names.shown(name)
        return
    assert not clean.startswith("/") and ".." not in clean.split("/") and "\\" not in clean
    assert file_names.checked(clean) == clean
