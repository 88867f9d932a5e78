"""What commands print: for people, for pipes, and when files cannot be written."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from brandloom import (
    Dataset,
    DatasetRevision,
    GeneratedImage,
    GenerationProgress,
    JobState,
    NoticeEvent,
    Placement,
    Queued,
    Standing,
    Text,
    TextMessage,
    TrainingJob,
    UploadOutcome,
    UploadReport,
    UploadResult,
    UsedLora,
    parse_stack_entry,
)
from brandloom._convert.fields import from_proto
from brandloom.api.labeler.v1 import resources_pb2 as labeler_pb2
from brandloom.api.trainer.v1 import resources_pb2
from brandloom.cli import main as command
from brandloom.cli.generate import _parts
from brandloom.cli.job_board import JobBoard, event_line
from brandloom.cli.job_facts import job_facts
from brandloom.cli.main import cli, describe
from brandloom.cli.session import Session, table
from brandloom.errors import InvalidArgument

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def run(client: SimpleNamespace, *arguments: str) -> Result:
    session: Any = Session()
    session.client = client
    return CliRunner().invoke(cli, arguments, obj=session)


def a_job(state: JobState, queue_position: int) -> TrainingJob:
    spec = resources_pb2.TrainingSpec(lora="brands/acme/loras/hero", base_model="baseModels/sd")
    spec.samples.prompts.append("a cat")
    spec.adapter.rank, spec.adapter.train_text_encoder = 4, True
    message = resources_pb2.TrainingJob(name="brands/acme/trainingJobs/1", spec=spec)
    return replace(from_proto(TrainingJob, message), state=state, queue_position=queue_position)


@pytest.mark.parametrize(("position", "words"), [(0, "next"), (2, "2 before it")])
def test_a_job_shows_its_settings_by_the_names_of_the_options(position: int, words: str) -> None:
    job = a_job(JobState.QUEUED, position)
    training = SimpleNamespace(get=lambda name: job)
    lines = run(SimpleNamespace(training=training), "jobs", "get", "acme/1").stdout.splitlines()
    found = {" ".join(line.split()) for line in lines}
    assert {f"queue {words}", "rank 4", "train text encoder yes", "sample prompts a cat"} <= found
    assert not any("precision" in line for line in lines)


def test_a_job_that_waits_says_why_and_for_how_long() -> None:
    placement = Placement(
        standing=Standing.PACK_FULL,
        reason="all places are taken by 8 jobs that it could train with",
        pack="sd, 512 px, auto",
        companions=0,
        estimated_start_time=datetime.now(UTC) + timedelta(seconds=90.4),
    )
    job = replace(a_job(JobState.QUEUED, 2), placement=placement)
    training = SimpleNamespace(get=lambda name: job)
    said = " ".join(run(SimpleNamespace(training=training), "jobs", "get", "acme/1").stdout.split())
    assert "pack sd, 512 px, auto" in said
    assert "all places are taken by 8 jobs that it could train with; may start in 1:30" in said


def test_lines_in_a_pipe_end_where_their_text_does() -> None:
    training = SimpleNamespace(list=lambda brand, **query: iter([a_job(JobState.SUCCEEDED, 0)]))
    lines = run(SimpleNamespace(training=training), "jobs", "list").stdout.splitlines()
    assert len(lines) == 3
    assert [line for line in lines if line != line.rstrip()] == []


def test_duplicates_are_told_apart_from_what_is_kept(tmp_path: Path) -> None:
    results = [
        UploadResult(source_name=f"{outcome}.png", outcome=outcome, image="", flags=(), failure=None)
        for outcome in (UploadOutcome.ADDED, UploadOutcome.DUPLICATE, UploadOutcome.UNCHANGED)
    ]
    report = UploadReport(results=tuple(results), added_count=2, rejected_count=0)
    datasets = SimpleNamespace(upload=lambda *paths, **settings: report)
    done = run(SimpleNamespace(datasets=datasets), "datasets", "upload", "acme/set", str(tmp_path))
    assert "2 added (1 excluded as duplicates), 0 rejected, 1 unchanged" in done.stderr


def generating(png: bytes = b"picture") -> SimpleNamespace:
    used = UsedLora(
        reference="hero",
        version="brands/acme/loras/hero/versions/3",
        sha256="ab",
        text_encoder_weight=0.5,
        weight=0.8,
    )
    events = [
        Queued(position=2, stack=(used,), seed=7, base_model_sha256="cd"),
        GenerationProgress(step=2, total_steps=2, time_left=None),
        GeneratedImage(index=0, png=png, width=8, height=8, seed=7, sha256="ef"),
    ]
    return SimpleNamespace(images=SimpleNamespace(stream=lambda *arguments, **settings: iter(events)))


def test_generating_tells_the_stack_that_is_used(tmp_path: Path) -> None:
    done = run(generating(), "generate", "acme", "cat", "--output", str(tmp_path))
    assert done.exit_code == 0
    assert (tmp_path / "00-7.png").read_bytes() == b"picture"
    assert "with acme/hero@3 at 0.8 (0.5 in the text encoder)" in done.stderr
    assert "2 requests before this one" in done.stderr


def test_generating_tells_when_and_where_each_lora_works(tmp_path: Path) -> None:
    entries = (
        "--lora",
        "hero:0.8:steps=0-60%:box=0,0,50%,1",
        "--composition",
        "switch",
        "--switch-every",
        "2",
    )
    done = run(generating(), "generate", "acme", "cat", *entries, "--output", str(tmp_path))
    assert "with acme/hero@3 at 0.8 (0.5 in the text encoder) steps=0%-60% box=0%,0%,50%,100%" in done.stderr
    assert "composition switch, 2 steps each" in done.stderr


def test_a_tag_works_everywhere_and_comes_before_the_options() -> None:
    entry = parse_stack_entry("hero:0.4:steps=0-60%")
    assert _parts("<lora:hero:0.8> a cat", [entry, entry], "hero") == ["", "steps=0%-60%"]
    assert _parts("a cat", [entry, parse_stack_entry("neon")], "hero") == ["steps=0%-60%"]


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    target = tmp_path / "file" / "cat.png"

    def save(**settings: object) -> None:
        target.write_bytes(b"")

    monkeypatch.setattr(cli, "main", save)
    monkeypatch.setattr(sys, "argv", ["brandloom"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"Error: {target}: Not a directory\n"


HOSTILE = "a\x1b]0;mine\x07\x1b[2J\x9b31m[bold]b[/nothing]\u202ec"


def test_what_others_named_moves_no_cursor() -> None:
    """Names, texts and messages come from anywhere: a terminal obeys none of them."""
    job = replace(a_job(JobState.QUEUED, 0), display_name=HOSTILE)
    notice = NoticeEvent(sequence=1, time=NOW, notice=HOSTILE)
    board = JobBoard({job.name: job})
    board.apply(job.name, notice)
    written = io.StringIO()
    session: Any = Session()
    session.out = session.notes = Console(file=written, width=400, force_terminal=True, color_system=None)
    for shown in (job_facts(job), board, HOSTILE):
        session.print(shown)
    session.note(HOSTILE)
    session.note(event_line(job, notice))
    text = written.getvalue() + describe(InvalidArgument(HOSTILE))
    assert text.count("[bold]b[/nothing]") == 6
    assert not set(text) & set("\x1b\x07\x9b\u202e")


def test_names_stay_whole_in_narrow_terminals() -> None:
    name = "acme/heroes/01a207cd0cd076daa0427c143bc9104a"
    console = Console(file=io.StringIO(), width=80)
    console.print(
        table(("picture", "file", "caption"), [(name, "p1.png", "a brown elephant in a forest " * 4)])
    )
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert sum(name in line for line in lines) == 1
    assert max(map(len, lines)) <= 80


def test_texts_are_listed_by_their_lines() -> None:
    pair = from_proto(
        Text,
        labeler_pb2.Text(
            name="brands/acme/datasets/voice/texts/1",
            prompt="How much\nis it?",
            response="word " * 40,
            split="train",
            source_name="voice.jsonl",
            line_number=3,
        ),
    )
    talk = from_proto(Text, labeler_pb2.Text(name="brands/acme/datasets/voice/texts/2", excluded=True))
    said = (TextMessage(role="user", content="Hello?"), TextMessage(role="assistant", content="Hoo-hoo!"))
    talk = replace(talk, messages=said, split="validation", source_name="voice.jsonl", line_number=4)
    found = [pair, talk]
    texts = SimpleNamespace(list=lambda dataset, **query: iter(found), get=lambda name: talk)
    lines = run(SimpleNamespace(texts=texts), "texts", "list", "acme/voice").stdout.splitlines()
    first, second = (" ".join(line.split()) for line in lines[-2:])
    assert first.startswith("acme/voice/1 voice.jsonl:3 train How much is it? word word")
    assert first.endswith("...") and len(first) < 130
    assert second == "acme/voice/2 voice.jsonl:4 validation, excluded Hello? Hoo-hoo!"
    shown = run(SimpleNamespace(texts=texts), "texts", "get", "acme/voice/2").stdout
    assert "assistant  Hoo-hoo!" in shown


def test_what_a_dataset_and_a_revision_hold() -> None:
    dataset = from_proto(Dataset, labeler_pb2.Dataset(name="brands/acme/datasets/voice", text_count=7))
    name = "brands/acme/datasets/voice/revisions/1"
    sealed = from_proto(DatasetRevision, labeler_pb2.DatasetRevision(name=name, text_count=7))
    datasets = SimpleNamespace(get=lambda name: dataset, revision=lambda name: sealed)
    shown = run(SimpleNamespace(datasets=datasets), "datasets", "get", "acme/voice").stdout
    assert re.search(r"^texts +7$", shown, re.MULTILINE) and "pictures" not in shown
    shown = run(SimpleNamespace(datasets=datasets), "revisions", "get", "acme/voice").stdout
    assert re.search(r"^holds +7 texts$", shown, re.MULTILINE)
