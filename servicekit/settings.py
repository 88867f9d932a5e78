"""Reads settings from the environment and reports all faults together.

    reader = Settings(os.environ)
    listen = reader.address("BRANDLOOM_REGISTRY_LISTEN", "127.0.0.1:50051")
    workers = reader.integer("BRANDLOOM_TRAINER_WORKERS", 1, minimum=1, maximum=64)
    reader.check()          # one ConfigError that names every faulty variable

A variable that is unset and has no default is a fault. So is one that does not parse: the reader then hands
back a stand-in, so that reading goes on and `check` can tell everything at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})\Z")


class ConfigError(Exception):
    """The process cannot start as configured; `faults` has one line for each faulty variable."""

    def __init__(self, faults: Collection[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("bad configuration:\n" + "\n".join(f"  {fault}" for fault in self.faults))


class Settings:
    """A reader over environment variables that collects faults instead of stopping at the first."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._faults: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """The variable as it is, without surrounding white space."""
        value = self._environment.get(name)
        if value is None:
            if default is None:
                self.fault(name, "is required")
                return ""
            return default
        return value.strip()

    def integer(
        self, name: str, default: int | None = None, minimum: int | None = None, maximum: int | None = None
    ) -> int:
        """A whole number within the bounds, both included."""
        return int(self._number(name, default, minimum, maximum, int))

    def number(
        self,
        name: str,
        default: float | None = None,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> float:
        """A finite decimal number within the bounds, both included."""
        return float(self._number(name, default, minimum, maximum, float))

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """1/true/yes/on or 0/false/no/off, in any case."""
        value = self.text(name, None if default is None else str(default)).lower()
        if value not in _TRUE | _FALSE and name in self._environment:
            self.fault(name, f"must be true or false, not {value!r}")
        return value in _TRUE

    def choice(self, name: str, choices: Collection[str], default: str | None = None) -> str:
        """One of the given words."""
        value = self.text(name, default)
        if value not in choices and (name in self._environment or default is not None):
            self.fault(name, f"must be one of {', '.join(sorted(choices))}, not {value!r}")
        return value

    def path(self, name: str, default: Path | str | None = None) -> Path:
        """An absolute path; `~` is the home directory. It need not exist."""
        value = self.text(name, None if default is None else str(default))
        if not value and name in self._environment:
            self.fault(name, "must be a path")
        return Path(value).expanduser().absolute()

    def address(self, name: str, default: str | None = None, *, allow_empty: bool = False) -> str:
        """`host:port` (or `unix:/path`, `dns:///host:port`); empty means "off" where `allow_empty`."""
        value = self.text(name, default)
        if not value and (allow_empty or name not in self._environment):
            return value
        if value.startswith("unix:") and len(value) > len("unix:"):
            return value
        match = _ADDRESS.match(value.removeprefix("dns:///"))
        if match is None or int(match["port"]) > 65535:
            self.fault(name, f"must be host:port, not {value!r}")
        return value

    def fault(self, name: str, description: str) -> None:
        """Adds a fault found by the caller, for rules that join several variables."""
        self._faults.append(f"{name} {description}")

    def check(self) -> None:
        """Raises ConfigError when anything read so far was at fault."""
        if self._faults:
            raise ConfigError(self._faults)

    def _number(
        self,
        name: str,
        default: float | None,
        minimum: float | None,
        maximum: float | None,
        kind: type[int] | type[float],
    ) -> float:
        text = self.text(name, None if default is None else str(default))
        stand_in = default if default is not None else minimum or 0
        try:
            value = kind(text)
        except ValueError:
            if text or name in self._environment:
                what = "a whole number" if kind is int else "a number"
                self.fault(name, f"must be {what}, not {text!r}")
            return stand_in
        # Written so that NaN, which compares false with everything, is refused too.
        low = minimum if minimum is not None else float("-inf")
        high = maximum if maximum is not None else float("inf")
        if not low <= value <= high or value in (float("inf"), float("-inf")):
            self.fault(name, f"must be {_bounds(minimum, maximum)}, not {text}")
            return stand_in
        return value


def _bounds(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f"from {minimum} to {maximum}"
    if minimum is not None:
        return f"at least {minimum}"
    return f"at most {maximum}" if maximum is not None else "finite"
