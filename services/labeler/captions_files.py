"""Caption files as people have them: metadata.csv, metadata.jsonl, .txt sidecars. Parsing and writing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from servicekit.errors import FieldViolation, InvalidArgument
from services.labeler import file_names, texts
from services.labeler.archives import ArchiveError, read_archive
from services.labeler.captions import too_long
from services.labeler.domain import Failure
from services.labeler.limits import UploadLimits
from services.labeler.rows import CaptionFormat, CaptionRow

FILE_NAME: Final = "file_name"
TEXT: Final = "text"
MAX_ROWS: Final = 100_000
# Captions may have several lines; empty lines count too.
MAX_LINES: Final = 20 * MAX_ROWS
MAX_FAULTS: Final = 100
# A row cannot be longer than a caption with its file name, generously counted.
_MAX_LINE_CHARACTERS: Final = 65_536


class _EnoughError(Exception):
    """So much is wrong with the file that what follows need not be read."""


CANONICAL_NAMES: Final = {
    CaptionFormat.CSV: "metadata.csv",
    CaptionFormat.JSONL: "metadata.jsonl",
    CaptionFormat.TXT_ZIP: "captions.zip",
}


def parsed(data: bytes, form: CaptionFormat, limits: UploadLimits) -> list[CaptionRow]:
    """The rows of a caption file; InvalidArgument that names every faulty line and column, the first
    MAX_FAULTS of them.
    """
    reader = _Reader(CANONICAL_NAMES[form])
    with suppress(_EnoughError):
        match form:
            case CaptionFormat.CSV:
                reader.read_csv(reader.text_of(data))
            case CaptionFormat.JSONL:
                reader.read_jsonl(reader.text_of(data))
            case CaptionFormat.TXT_ZIP:
                reader.read_sidecars(data, limits)
    if reader.faults:
        raise InvalidArgument(reader.faults, reason="CAPTION_FILE_INVALID")
    return reader.rows


def csv_bytes(rows: Iterable[tuple[str, str]]) -> bytes:
    """metadata.csv of (file name, caption) pairs, in their order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([FILE_NAME, TEXT])
    writer.writerows(rows)
    return text.getvalue().encode()


def jsonl_bytes(rows: Iterable[tuple[str, str]]) -> bytes:
    """metadata.jsonl of (file name, caption) pairs, in their order."""
    lines = (json.dumps({FILE_NAME: name, TEXT: text}) + "\n" for name, text in rows)
    return "".join(lines).encode()


class _Reader:
    """Collects rows and faults of one file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[CaptionRow] = []
        self.faults: list[FieldViolation] = []

    def fault(self, place: str, description: str) -> None:
        """_EnoughError with the last fault that an answer has room for."""
        self.faults.append(FieldViolation(place, description))
        if len(self.faults) >= MAX_FAULTS:
            raise _EnoughError

    def place(self, line: int, column: str = "") -> str:
        return f"{self.name}:{line}" + (f":{column}" if column else "")

    def text_of(self, data: bytes) -> str:
        if data.count(b"\n") > MAX_LINES:
            self.fault(self.name, f"has more than {MAX_LINES} lines, which is the limit")
            return ""
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.fault(self.place(line), f"is not UTF-8 (byte {error.start})")
            return ""

    def read_csv(self, text: str) -> None:
        if self.faults:
            return
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns: list[str] | None = None
        line = 1
        try:
            for cells in reader:
                if columns is None:
                    columns = [cell.strip() for cell in cells]
                    if not self._header_is_good(columns):
                        return
                elif cells:
                    self._csv_row(columns, cells, line)
                line = reader.line_num + 1
        except csv.Error as error:
            self.fault(self.place(max(line, reader.line_num)), f"is no CSV: {error}")
        if columns is None and not self.faults:
            self.fault(self.place(1), f"must be a header with the columns {FILE_NAME} and {TEXT}")

    def read_jsonl(self, text: str) -> None:
        for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line) if len(line) <= _MAX_LINE_CHARACTERS else None
            except json.JSONDecodeError as error:
                self.fault(self.place(number, str(error.colno)), f"is no JSON: {error.msg}")
                continue
            except (ValueError, RecursionError):
                record = None
            self._json_row(record, number)

    def read_sidecars(self, data: bytes, limits: UploadLimits) -> None:
        try:
            for file in read_archive(io.BytesIO(data), limits):
                self._sidecar(file.name, file.content)
        except ArchiveError as error:
            self.fault(self.name, str(error))

    def _header_is_good(self, columns: list[str]) -> bool:
        for wanted in (FILE_NAME, TEXT):
            if columns.count(wanted) != 1:
                self.fault(self.place(1, wanted), f"the header must name the column {wanted} once")
        return not self.faults

    def _csv_row(self, columns: list[str], cells: list[str], line: int) -> None:
        if len(cells) != len(columns):
            self.fault(self.place(line), f"has {len(cells)} columns; the header has {len(columns)}")
            return
        row = dict(zip(columns, cells, strict=True))
        self._add(row[FILE_NAME], row[TEXT], line)

    def _json_row(self, record: Any, line: int) -> None:
        if not isinstance(record, dict):
            self.fault(
                self.place(line), f'must be an object like {{"{FILE_NAME}": "a.png", "{TEXT}": "a hat"}}'
            )
            return
        bad = [key for key in (FILE_NAME, TEXT) if not isinstance(record.get(key), str)]
        for key in bad:
            self.fault(self.place(line, key), "must be a string")
        if not bad:
            self._add(record[FILE_NAME], record[TEXT], line)

    def _sidecar(self, name: str, content: bytes | Failure) -> None:
        if isinstance(content, Failure):
            self.fault(name, content.message)
            return
        if not name.lower().endswith(".txt"):
            return  # the pictures themselves, in an archive that holds both
        try:
            text = content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            self.fault(name, "is not UTF-8")
            return
        self._take(CaptionRow(file_names.stem(name), text, name, by_stem=True), name)

    def _add(self, file_name: str, text: str, line: int) -> None:
        try:
            name = file_names.checked(file_name.strip())
        except file_names.FileNameError as error:
            self.fault(self.place(line, FILE_NAME), str(error))
            return
        self._take(CaptionRow(name, text.strip(), self.place(line)), self.place(line, TEXT))

    def _take(self, row: CaptionRow, text_place: str) -> None:
        if problem := texts.problem(row.text) or too_long(row.text):
            self.fault(text_place, problem)
        elif len(self.rows) >= MAX_ROWS:
            self.faults[:] = [FieldViolation(row.place, f"is beyond {MAX_ROWS} rows, which is the limit")]
            raise _EnoughError
        else:
            self.rows.append(row)
