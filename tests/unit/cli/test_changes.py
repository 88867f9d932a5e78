"""Commands that change things hand on what was asked for, and only that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from brandloom import (
    BaseModel,
    Brand,
    Change,
    ChangeKind,
    Dataset,
    DownloadUrl,
    Image,
    Lora,
    LoraVersion,
    Text,
)
from brandloom._convert.fields import from_proto
from brandloom.api.labeler.v1 import resources_pb2 as labeler_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.registry.v1 import resources_pb2 as registry_resources
from brandloom.cli.main import cli
from brandloom.cli.session import Session

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
BRAND = from_proto(Brand, registry_resources.Brand(name="brands/acme"))
LORA = from_proto(
    Lora, registry_resources.Lora(name="brands/acme/loras/hero", aliases={"prod": 3, "beta": 4}, tags=["new"])
)
VERSION = from_proto(LoraVersion, registry_resources.LoraVersion(name="brands/acme/loras/hero/versions/3"))
BASE = from_proto(BaseModel, registry_resources.BaseModel(name="baseModels/b"))
DATASET = from_proto(Dataset, labeler_pb2.Dataset(name="brands/acme/datasets/set"))
IMAGE = from_proto(Image, labeler_pb2.Image(name="brands/acme/datasets/set/images/1", excluded=True))
TEXT = from_proto(Text, labeler_pb2.Text(name="brands/acme/datasets/set/texts/1", prompt="a", response="b"))


@dataclass
class Answering:
    """A group of calls that all give one answer and are remembered."""

    answer: Any
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **settings: Any) -> Any:
            self.calls.append((name, arguments, settings))
            return self.answer

        return call


def run(group: str, answering: Any, *arguments: str) -> Result:
    session: Any = Session()
    session.client = SimpleNamespace(**{group: answering})
    return CliRunner().invoke(cli, arguments, obj=session)


@pytest.mark.parametrize(
    ("group", "answer", "arguments", "call"),
    [
        ("brands", BRAND, "brands update acme --label a=b", ("update", ("acme",), {"labels": {"a": "b"}})),
        ("brands", BRAND, "brands update acme --no-labels", ("update", ("acme",), {"labels": {}})),
        ("loras", LORA, "loras update a/b --tag x --tag y", ("update", ("a/b",), {"tags": ("x", "y")})),
        ("loras", LORA, "loras update a/b --no-tags", ("update", ("a/b",), {"tags": ()})),
        (
            "versions",
            VERSION,
            "versions update a/b@3 --license mit",
            ("update", ("a/b@3",), {"license": "mit"}),
        ),
        (
            "datasets",
            DATASET,
            "datasets update a/s --description x",
            ("update", ("a/s",), {"description": "x"}),
        ),
        (
            "datasets",
            IMAGE,
            "images update a/s/1 --include --split validation",
            ("update_image", ("a/s/1",), {"excluded": False, "split": "validation"}),
        ),
        (
            "datasets",
            IMAGE,
            "images update a/s/1 --exclude",
            ("update_image", ("a/s/1",), {"excluded": True}),
        ),
        (
            "texts",
            TEXT,
            "texts update a/s/1 --include --split validation",
            ("update", ("a/s/1",), {"excluded": False, "split": "validation"}),
        ),
    ],
)
def test_only_what_is_given_changes(group: str, answer: Any, arguments: str, call: Any) -> None:
    answering = Answering(answer)
    done = run(group, answering, *arguments.split())
    assert done.exit_code == 0, done.output
    name, positional, settings = call
    assert answering.calls == [(name, positional, {"etag": "", **settings})]


@pytest.mark.parametrize(
    ("group", "command"),
    [
        ("brands", "brands update a --label a=b"),
        ("brands", "brands delete a --yes"),
        ("base_models", "base-models update b --license mit"),
        ("base_models", "base-models delete b --yes"),
        ("datasets", "datasets update a/s --description x"),
        ("datasets", "datasets delete a/s --yes"),
        ("captions", "images caption a/s/1 text"),
        ("datasets", "images update a/s/1 --exclude"),
        ("datasets", "images delete a/s/1 --yes"),
        ("texts", "texts update a/s/1 --exclude"),
        ("texts", "texts delete a/s/1 --yes"),
        ("loras", "loras update a/b --tag x"),
        ("loras", "loras delete a/b --yes"),
        ("loras", "alias set a/b prod 1"),
        ("loras", "alias delete a/b prod"),
        ("versions", "versions update a/b@3 --license mit"),
    ],
)
def test_an_etag_goes_along(group: str, command: str) -> None:
    answers = {
        "brands": BRAND,
        "base_models": BASE,
        "loras": LORA,
        "versions": VERSION,
        "captions": IMAGE,
        "texts": TEXT,
    }
    answer = answers.get(group, IMAGE if command.startswith("images") else DATASET)
    answering = Answering(answer)
    done = run(group, answering, *command.split(), "--etag", "abc")
    assert done.exit_code == 0, done.output
    assert answering.calls[0][2]["etag"] == "abc"


@pytest.mark.parametrize(
    "command",
    [
        "brands update x",
        "base-models update x",
        "loras update a/x",
        "versions update a/x@1",
        "images update a/x/1",
    ],
)
def test_nothing_to_change_is_wrong_usage(command: str) -> None:
    done = CliRunner().invoke(cli, command.split(), obj=Session())
    assert done.exit_code == 2
    assert "nothing to change" in done.output


@pytest.mark.parametrize(
    "command", ["loras update a/x --tag a --no-tags", "brands update a --label a=b --no-labels"]
)
def test_some_and_none_exclude_each_other(command: str) -> None:
    done = CliRunner().invoke(cli, command.split(), obj=Session())
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_a_deletion_is_told_in_json_too() -> None:
    answering = Answering(None)
    done = run("datasets", answering, "images", "delete", "a/s/1", "--yes", "--json")
    assert json.loads(done.stdout) == {"deleted": "a/s/1"}
    assert run("datasets", answering, "images", "delete", "a/s/1", "--yes").stderr == "deleted a/s/1\n"


def test_aliases_are_listed_by_what_they_are_called_by() -> None:
    assert json.loads(run("loras", Answering(LORA), "alias", "list", "acme/hero", "--json").stdout) == [
        {"alias": "beta", "version": 4},
        {"alias": "prod", "version": 3},
    ]
    assert "acme/hero@prod" in run("loras", Answering(LORA), "alias", "list", "acme/hero").stdout


def test_an_address_stays_on_one_line() -> None:
    answer = registry_pb2.GetDownloadUrlResponse(url="https://store/" + "x" * 300)
    answering = Answering(from_proto(DownloadUrl, answer))
    done = run("versions", answering, "versions", "url", "acme/hero@3", "--expires", "60")
    assert done.stdout == answer.url + "\n"
    assert answering.calls == [("download_url", ("acme/hero@3",), {"expires_seconds": 60})]


class Changing:
    """Three changes; remembers from where it was asked to tell them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, int]] = []

    def watch(self, brand: str | None, *, after_sequence: int) -> Iterator[Change]:
        self.asked.append((brand, after_sequence))
        for sequence, kind in enumerate(
            (ChangeKind.VERSION_ADDED, ChangeKind.ALIAS_SET, ChangeKind.LORA_UPDATED)
        ):
            yield Change(
                sequence=sequence + 7,
                time=NOW,
                kind=kind,
                lora=LORA.name,
                version=0 if kind is ChangeKind.LORA_UPDATED else 3,
                alias="prod" if kind is ChangeKind.ALIAS_SET else "",
            )


def test_changes_are_followed() -> None:
    changing = Changing()
    lines = run("loras", changing, "loras", "watch").stdout.splitlines()
    assert [line.partition("acme")[2] for line in lines] == [
        "/hero@3 is new",
        "/hero@prod -> acme/hero@3",
        "/hero: lora updated",
    ]
    found = run("loras", changing, "loras", "watch", "acme", "--after", "6", "--limit", "2", "--json").stdout
    assert [json.loads(line)["kind"] for line in found.splitlines()] == ["VERSION_ADDED", "ALIAS_SET"]
    assert changing.asked == [(None, -1), ("acme", 6)]
