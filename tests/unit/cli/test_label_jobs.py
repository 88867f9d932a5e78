"""`brandloom label-jobs` over a labeler that is a few jobs in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from brandloom import (
    Failure,
    JobFailed,
    JobState,
    LabeledEvent,
    LabelEvent,
    LabelJob,
    LabelProgress,
    LabelProgressEvent,
    StateEvent,
)
from brandloom.cli.main import cli
from brandloom.cli.session import Session
from brandloom.types.labeler import LabeledImage

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
JOB = "brands/acme/datasets/heroes/labelJobs/1"


def a_job(state: JobState, done: int = 2, error: Failure | None = None) -> LabelJob:
    return LabelJob(
        name=JOB,
        overwrite=False,
        trigger_word="",
        batch_size=8,
        max_tokens=48,
        state=state,
        progress=LabelProgress(done=done, total=5, failed=1, images_per_second=1.0, time_left=None),
        error=error,
        create_time=NOW,
        start_time=NOW,
        end_time=None,
        etag="e",
        captioner="blip",
    )


@dataclass
class FakeLabeling:
    """One job, which has ended as `last` once it was watched."""

    job: LabelJob
    last: LabelJob
    listed: list[tuple[str, str, str]] = field(default_factory=list)

    def get(self, job: str | LabelJob) -> LabelJob:
        assert JOB in (job, getattr(job, "name", ""))
        return self.job

    def list(self, dataset: str, *, filter: str, order_by: str) -> Iterator[LabelJob]:  # noqa: A002
        self.listed.append((dataset, filter, order_by))
        return iter([self.job, self.last])

    def cancel(self, job: str) -> LabelJob:
        self.job = replace(self.get(job), state=JobState.CANCELLED)
        return self.job

    def watch(self, job: LabelJob) -> Iterator[LabelEvent]:
        image = LabeledImage(image=f"{JOB}/images/a", caption="a cat", failure=None)
        yield LabeledEvent(sequence=1, time=NOW, labeled=image)
        assert self.last.progress
        yield LabelProgressEvent(sequence=2, time=NOW, progress=self.last.progress)
        self.job = self.last
        yield StateEvent(sequence=3, time=NOW, state=self.last.state)


def labeling(last: LabelJob | None = None) -> FakeLabeling:
    return FakeLabeling(a_job(JobState.RUNNING), last or a_job(JobState.SUCCEEDED, 5))


def run(fake: FakeLabeling, *arguments: str) -> Result:
    session: Any = Session()
    session.client = SimpleNamespace(labeling=fake)
    return CliRunner().invoke(cli, ["label-jobs", *arguments], obj=session)


def test_list_shows_names_that_the_others_take() -> None:
    fake = labeling()
    done = run(fake, "list", "acme/heroes", "--filter", 'state = "RUNNING"', "--limit", "1", "--json")
    assert [job["name"] for job in json.loads(done.stdout)] == [JOB]
    assert fake.listed == [("acme/heroes", 'state = "RUNNING"', "")]
    lines = run(fake, "list", "acme/heroes").stdout
    assert "2/5" in lines
    assert "5/5" in lines


def test_get_shows_progress() -> None:
    done = run(labeling(), "get", JOB)
    assert done.exit_code == 0
    for part in (JOB, "running", "2 of 5, 1 failed", "blip"):
        assert part in done.stdout


def test_cancel_shows_the_state_after_it() -> None:
    fake = labeling()
    assert json.loads(run(fake, "cancel", JOB, "--json").stdout)["state"] == "CANCELLED"
    assert fake.job.state is JobState.CANCELLED


def test_watch_follows_to_the_end() -> None:
    done = run(labeling(), "watch", JOB)
    assert done.exit_code == 0
    assert "captioning: 5 of 5" in done.stderr
    assert "succeeded" in done.stdout


def test_ctrl_c_says_that_the_job_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = labeling()

    def watch(job: LabelJob) -> Iterator[LabelEvent]:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "watch", watch)
    done = run(fake, "watch", JOB)
    assert "the job goes on: `brandloom label-jobs watch acme/heroes/1`" in done.stderr


def test_watch_writes_each_event_as_a_line_of_json() -> None:
    events = [json.loads(line) for line in run(labeling(), "watch", JOB, "--json").stdout.splitlines()]
    assert [(event["job"], event["event"]) for event in events] == [
        (JOB, "labeled"),
        (JOB, "progress"),
        (JOB, "state"),
    ]
    assert events[0]["labeled"]["caption"] == "a cat"


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_watch_fails_with_a_job_that_does_not_succeed(state: JobState, flags: tuple[str, ...]) -> None:
    error = Failure(reason="NO_MODEL", message="the captioner is gone")
    done = run(labeling(a_job(state, error=error)), "watch", JOB, *flags)
    assert isinstance(done.exception, JobFailed)
    assert "the captioner is gone" in str(done.exception)
