"""What `brandloom complete` refuses before anything is sent."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.test_picture_commands import PNG, Recorder, run


def test_a_schema_that_is_no_text_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(PNG)
    call = Recorder([])
    done = run("completions", "stream", call, "complete", "acme", "hi", "--json-schema", str(file))
    assert done.exit_code == 2
    assert "--json-schema" in done.stderr
    assert "picture.png is not UTF-8 text" in " ".join(done.stderr.split())
    assert call.arguments == ()


def test_a_text_of_no_tokens_is_wrong_usage() -> None:
    call = Recorder([])
    assert run("completions", "stream", call, "complete", "acme", "hi", "--max-tokens", "0").exit_code == 2
    assert call.arguments == ()
    assert run("completions", "stream", call, "complete", "acme", "hi").exit_code == 0
    assert call.settings["max_tokens"] is None
