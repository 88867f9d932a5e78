"""docs/reference/configuration.md names every variable that services read, and no other, with its default."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from brandloom._settings import SERVICES
from servicekit.settings import Settings
from services.inference.config import read_config as read_inference
from services.labeler.config import read_config as read_labeler
from services.registry.config import read_config as read_registry
from services.trainer.accelerators import count_accelerators
from services.trainer.config import read_config as read_trainer
from services.trainer.worker.config import read_config as read_worker

ROOT = Path(__file__).resolve().parents[2]
READ = re.compile(r'reader\.\w+\(\s*"(BRANDLOOM_[A-Z0-9_]+)"|name = "(BRANDLOOM_[A-Z0-9_]+)"')
VARIABLE = re.compile(r"`(BRANDLOOM_[A-Z0-9_<>]+)`")
ROW = re.compile(r"^\| (`BRANDLOOM_.+?) \| (.*?) \| .* \|$", re.MULTILINE)
PAGE = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
FOR_EACH_SERVICE = ("LISTEN", "METRICS_LISTEN", "ADDRESS", "DATABASE_URL", "DRAIN_SECONDS")
READERS: tuple[Callable[[Mapping[str, str]], Any], ...] = (
    read_registry,
    read_labeler,
    read_trainer,
    read_worker,
    read_inference,
)
CORES = len(os.sched_getaffinity(0))
S3 = {
    "BRANDLOOM_STORE_URL": "s3://bucket",
    "BRANDLOOM_S3_ENDPOINT": "127.0.0.1:9000",
    "BRANDLOOM_S3_ACCESS_KEY": "key",
    "BRANDLOOM_S3_SECRET_KEY": "secret",
}
IN_WORDS: dict[str, Any] = {
    "empty": "",
    "true": True,
    "false": False,
    "file `token` in the home": "",
    "required with `s3://`": None,
    "cores, at most 4": min(4, os.cpu_count() or 1),
    "cores less one, at most 8": max(1, min(8, CORES - 1)),
    "one for each accelerator, or 1": max(1, count_accelerators()),
}


def in_page() -> dict[str, str]:
    """What the page has in the column of defaults, by variable."""
    found: dict[str, str] = {}
    for names, default in ROW.findall(PAGE):
        for name in VARIABLE.findall(names):
            services = [service.upper() for service in SERVICES] if "<SERVICE>" in name else [""]
            found |= {name.replace("<SERVICE>", service): default for service in services}
    return found


def read_in_code() -> set[str]:
    """Variables that are plainly read somewhere, be it by no reader of this test."""
    names: set[str] = set()
    for folder in ("servicekit", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            for groups in READ.findall(path.read_text(encoding="utf-8")):
                names |= {name for name in groups if name}
    return names


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The default that the services' readers have for each variable; that of the home is written as such."""
    found: dict[str, Any] = {}
    for kind in ("text", "integer", "number", "boolean", "choice", "path", "address"):
        monkeypatch.setattr(Settings, kind, _noting(getattr(Settings, kind), found))
    for read in READERS:
        for environment in (S3, {}):  # what is required with S3 has no default there
            read(environment)
    return found


def _noting(read: Callable[..., Any], found: dict[str, Any]) -> Callable[..., Any]:
    position = read.__code__.co_varnames.index("default") - 1  # less `self`

    def noting(self: Settings, *arguments: Any, **settings: Any) -> Any:
        default = settings.get("default", arguments[position] if len(arguments) > position else None)
        if isinstance(default, str | Path):
            default = str(default).replace(str(Path("~/.brandloom").expanduser()), "$BRANDLOOM_HOME")
        # One reader calls another with its default as text: the first to be called knows best.
        found.setdefault(arguments[0], default)
        return read(self, *arguments, **settings)

    return noting


def meant(name: str, words: str) -> Any:
    """The value that a cell of the page stands for."""
    service = name.split("_")[1].lower()
    if words == "SQLite in the home":
        return f"sqlite+aiosqlite:///$BRANDLOOM_HOME/{service}.db"
    if several := re.fullmatch(r"`(.+:)(\d+)` to `\d+`", words):
        return f"{several[1]}{int(several[2]) + list(SERVICES).index(service)}"
    if words in IN_WORDS:
        return IN_WORDS[words]
    if code := re.fullmatch(r"`([^`]*)`", words):
        return code[1]
    if number := re.fullmatch(r"([\d.]+)( GiB)?", words.replace(",", "")):
        return float(number[1]) * (1 << 30 if number[2] else 1)
    return f"words that this test does not know: {words}"


def test_the_readers_read_all_there_is(defaults: dict[str, Any]) -> None:
    assert len(defaults) > 40
    assert sorted(read_in_code() - set(defaults)) == []


def test_every_variable_is_documented(defaults: dict[str, Any]) -> None:
    assert sorted(set(defaults) - set(in_page())) == []


def test_every_documented_variable_is_read(defaults: dict[str, Any]) -> None:
    named = set(in_page())
    of_each_service = {
        name for name in named if name.split("_", 2)[-1] in FOR_EACH_SERVICE or name.endswith("_ADDRESS")
    }
    assert sorted(named - of_each_service - set(defaults)) == []


def test_every_default_is_as_documented(defaults: dict[str, Any]) -> None:
    page = in_page()
    told = {name: (meant(name, page[name]), default) for name, default in defaults.items() if name in page}
    assert len(told) > 40
    wrong = {name: both for name, both in told.items() if both[0] != both[1]}
    assert wrong == {}
