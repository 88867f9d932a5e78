from __future__ import annotations

import pytest

from servicekit.errors import FailedPrecondition
from services.trainer.manifest import read_manifest, training_pictures, validation_pictures
from tests.fixtures.trainer_jobs import manifest, pictures

GOOD = '{"sha256": "%s", "width": 4, "height": 5}' % ("a" * 64)


def test_what_the_labeler_writes_is_read() -> None:
    shown = (*pictures(3), *pictures(1, split="validation"))
    assert read_manifest(manifest(shown)) == shown
    assert len(training_pictures(shown)) == 3
    assert validation_pictures(shown, 5) == shown[3:]
    assert validation_pictures((*shown, *shown), 1) == shown[3:]


def test_a_caption_may_hold_any_line_end() -> None:
    shown = pictures(1, caption="a\u2028b\r\nc")
    assert read_manifest(manifest(shown)) == shown


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_only_a_line_feed_ends_a_line(separator: str) -> None:
    line = GOOD[:-1] + f', "caption": "a{separator}b"}}'
    found = read_manifest(f"{line}\r\n{line}\n".encode())
    assert [picture.caption for picture in found] == [f"a{separator}b"] * 2


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        "3",
        '{"width": 4, "height": 5}',
        GOOD.replace("a" * 64, "../../etc/passwd"),
        GOOD.replace('"width": 4', '"width": 0'),
        GOOD.replace('"width": 4', '"width": "wide"'),
        GOOD.replace(f'"{"a" * 64}"', "7"),
        "\udcff",
    ],
)
def test_a_broken_line_is_named(line: str) -> None:
    data = (GOOD + "\n" + line).encode("utf-8", "surrogateescape")
    with pytest.raises(FailedPrecondition, match="line 2") as caught:
        read_manifest(data)
    assert caught.value.reason == "MANIFEST_UNREADABLE"
