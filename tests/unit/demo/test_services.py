"""What the command that starts the services says of itself."""

from __future__ import annotations

import sys

import pytest

from demo import services


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--nonsense", 2)])
def test_help_starts_nothing(argument: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*arguments: object, **settings: object) -> None:
        raise AssertionError("nothing is to be started")

    monkeypatch.setattr(services, "running", nothing)
    monkeypatch.setattr(services, "exit_on_signals", nothing)
    monkeypatch.setattr(sys, "argv", ["services", argument])
    with pytest.raises(SystemExit) as left:
        services.main()
    assert left.value.code == status
