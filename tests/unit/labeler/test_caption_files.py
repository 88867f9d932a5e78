"""Caption files: what is written is read again, and nothing that is sent crashes the parsers."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import InvalidArgument
from services.labeler import captions_files, file_names
from services.labeler.caption_matching import matched
from services.labeler.captions import FindReplace, Prefix, Suffix, TriggerWord, edited, with_trigger
from services.labeler.captions_files import csv_bytes, jsonl_bytes, parsed
from services.labeler.limits import UploadLimits
from services.labeler.rows import CaptionFormat
from tests.fixtures.pictures import zipped

LIMITS = UploadLimits()
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=60).map(
    str.strip
)


def is_name(name: str) -> bool:
    try:
        return file_names.checked(name.strip()) == name
    except file_names.FileNameError:
        return False


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(is_name)
ROWS = st.lists(st.tuples(NAMES, TEXTS), max_size=8)


def pairs(data: bytes, form: CaptionFormat) -> list[tuple[str, str]]:
    return [(row.file_name, row.text) for row in parsed(data, form, LIMITS)]


@given(ROWS)
def test_tables_come_back(rows: list[tuple[str, str]]) -> None:
    assert pairs(csv_bytes(rows), CaptionFormat.CSV) == rows
    assert pairs(jsonl_bytes(rows), CaptionFormat.JSONL) == rows


@given(st.binary(max_size=300), st.sampled_from(list(CaptionFormat)))
def test_noise_is_read_or_refused(data: bytes, form: CaptionFormat) -> None:
    try:
        parsed(data, form, LIMITS)
    except InvalidArgument as error:
        assert error.violations and all(one.field and one.description for one in error.violations)


@given(st.lists(st.text("\",\n\r \tab'\\{}[]:", max_size=12), max_size=8), st.sampled_from(["csv", "jsonl"]))
def test_nearly_right_files_are_read_or_refused(lines: list[str], form: str) -> None:
    head = "file_name,text\n" if form == "csv" else '{"file_name": "a", "text": "b"}\n'
    try:
        parsed((head + "\n".join(lines)).encode(), CaptionFormat(form), LIMITS)
    except InvalidArgument as error:
        assert all(one.field.startswith(f"metadata.{form}:") for one in error.violations)


@given(st.integers(1, 30))
def test_the_line_of_a_fault_is_right(line: int) -> None:
    good = [f"{number}.png,text" for number in range(40)]
    good[line - 1] = "only-one-column"
    with pytest.raises(InvalidArgument) as caught:
        parsed(("file_name,text\n" + "\n".join(good)).encode(), CaptionFormat.CSV, LIMITS)
    assert [one.field for one in caught.value.violations] == [f"metadata.csv:{line + 1}"]


def test_lines_are_counted_through_quoted_line_ends() -> None:
    data = b'file_name,text\na.png,"one\ntwo\nthree"\nb.png\n'
    with pytest.raises(InvalidArgument) as caught:
        parsed(data, CaptionFormat.CSV, LIMITS)
    assert caught.value.violations[0].field == "metadata.csv:5"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_only_line_ends_of_the_format_end_a_row(separator: str) -> None:
    text = f"a{separator}b"
    table = f"file_name,text\na.png,{text}\n"
    lines = f'{{"file_name": "a.png", "text": "{text}"}}\n'
    assert pairs(table.encode(), CaptionFormat.CSV) == [("a.png", text)]
    assert pairs(lines.encode(), CaptionFormat.JSONL) == [("a.png", text)]


def test_faults_are_told_together_up_to_a_limit() -> None:
    data = b"file_name,text\n" + b"bad\n" * 150
    with pytest.raises(InvalidArgument) as caught:
        parsed(data, CaptionFormat.CSV, LIMITS)
    assert len(caught.value.violations) == captions_files.MAX_FAULTS


@pytest.mark.parametrize("form", [CaptionFormat.CSV, CaptionFormat.JSONL])
def test_millions_of_empty_lines_are_not_read(form: CaptionFormat) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parsed(b"\n" * (captions_files.MAX_LINES + 1), form, LIMITS)
    (fault,) = caught.value.violations
    assert (fault.field, "2000000 lines" in fault.description) == (f"metadata.{form}", True)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (CaptionFormat.CSV, b"x\n"),
        (CaptionFormat.CSV, b"a.png,a\n"),
        (CaptionFormat.JSONL, b"x\n"),
        (CaptionFormat.JSONL, b'{"file_name": "a.png", "text": ""}\n'),
    ],
)
def test_millions_of_rows_are_not_read_to_their_end(form: CaptionFormat, line: bytes) -> None:
    head = b"file_name,text\n" if form is CaptionFormat.CSV else b""
    last = b'"never closed' if form is CaptionFormat.CSV else b"{"
    data = head + line * (captions_files.MAX_ROWS + 1) + last
    with pytest.raises(InvalidArgument) as caught:
        parsed(data, form, LIMITS)
    assert len(caught.value.violations) in {1, captions_files.MAX_FAULTS}
    last_line = data.count(b"\n") + 1
    assert not any(f":{last_line}" in one.field for one in caught.value.violations)


@pytest.mark.parametrize(
    "text",
    ['"a\\u0000b"', '"\\ud800"', json.dumps("x" * 4001), "null", "3"],
    ids=["nul", "half", "long", "null", "3"],
)
def test_texts_that_cannot_be_kept(text: str) -> None:
    data = f'{{"file_name": "a.png", "text": {text}}}'.encode()
    with pytest.raises(InvalidArgument) as caught:
        parsed(data, CaptionFormat.JSONL, LIMITS)
    assert caught.value.violations[0].field == "metadata.jsonl:1:text"


def test_a_cell_beyond_what_csv_reads() -> None:
    data = b"file_name,text\na.png," + b"x" * (csv.field_size_limit() + 1)
    with pytest.raises(InvalidArgument):
        parsed(data, CaptionFormat.CSV, LIMITS)


def test_sidecars_are_named_in_faults() -> None:
    data = zipped({"set/a.txt": b"\xff", "../b.txt": b"b", "c.txt": b"\xef\xbb\xbfc\n"})
    with pytest.raises(InvalidArgument) as caught:
        parsed(data, CaptionFormat.TXT_ZIP, LIMITS)
    assert [one.field for one in caught.value.violations] == ["set/a.txt", "../b.txt"]
    (row,) = parsed(zipped({"c.txt": b"\xef\xbb\xbfc\n"}), CaptionFormat.TXT_ZIP, LIMITS)
    assert (row.file_name, row.text, row.by_stem) == ("c", "c", True)


def test_rows_without_pictures_are_all_named() -> None:
    rows = parsed(b"file_name,text\nx.png,1\ny.png,2\n", CaptionFormat.CSV, LIMITS)
    with pytest.raises(InvalidArgument) as caught:
        matched(rows, [], ignore_unknown=False)
    assert [one.field for one in caught.value.violations] == ["metadata.csv:2", "metadata.csv:3"]
    assert matched(rows, [], ignore_unknown=True).unknown == 2


@pytest.mark.parametrize(
    ("caption", "edit", "wanted"),
    [
        ("a hat", Prefix("photo, "), "photo, a hat"),
        ("a hat", Suffix(" on white "), "a hat on white"),
        ("", Prefix("photo"), ""),
        ("a (red) hat", FindReplace("(red)", "[blue]"), "a [blue] hat"),
        (
            "hat Hat hats",
            FindReplace("hat", r"\g<0>", ignore_case=True, whole_words=True),
            r"\g<0> \g<0> hats",
        ),
        ("c++ code", FindReplace("c++", "rust", whole_words=True), "rust code"),
        ("hat", FindReplace("hat", ""), ""),
        ("a hat", TriggerWord("acme"), "acme, a hat"),
        ("an ACME hat", TriggerWord("acme"), "an ACME hat"),
        ("acmes", TriggerWord("acme"), "acme, acmes"),
    ],
)
def test_edits(caption: str, edit: object, wanted: str) -> None:
    assert edited(caption, edit) == wanted


@given(TEXTS, TEXTS.filter(bool))
def test_a_trigger_word_is_put_once(caption: str, word: str) -> None:
    once = with_trigger(caption, word)
    assert word.lower() in once.lower() or not caption
    assert with_trigger(once, word) == once


def test_exported_csv_is_what_others_read() -> None:
    data = csv_bytes([("a.png", 'a "red" hat, big\nnext')])
    assert list(csv.DictReader(io.StringIO(data.decode(), newline=""))) == [
        {"file_name": "a.png", "text": 'a "red" hat, big\nnext'}
    ]
