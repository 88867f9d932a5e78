"""The demo: `python -m demo.run` (`make demo`) starts the services and goes from pictures to stacked LoRAs,
and from texts to brands' voices.

Everything lies under one folder, `.brandloom/demo`, which every run makes anew.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.rule import Rule

from brandloom import BrandloomError
from brandloom.cli.failures import describe
from demo.base_models import register_base_model, register_language_model
from demo.brands import write_brands
from demo.services import (
    ROOT,
    ServiceError,
    embedded_environment,
    exit_on_signals,
    free_addresses,
    running,
)
from demo.stages import Demo, Stages

_MARKER: Final = ".brandloom-demo"


@dataclass
class Parts:
    """The demo's parts, announced as they begin and timed."""

    console: Console
    total: int
    taken: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """One part; its time counts even when it fails."""
        self.console.print()
        self.console.print(Rule(f"[bold]{len(self.taken) + 1}/{self.total}  {title}[/bold]", align="left"))
        began = time.monotonic()
        try:
            yield
        finally:
            self.taken.append((title, time.monotonic() - began))


def main() -> int:
    """Runs the demo; 0 when all of it was done."""
    exit_on_signals()
    arguments = _arguments()
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    home: Path = arguments.home.expanduser().resolve()
    try:
        with _fresh_home(home):
            _run(console, home, arguments)
    except (ServiceError, HomeError) as fault:
        console.print(str(fault), markup=False)
        return 1
    except BrandloomError as error:
        console.print(describe(error), markup=False)
        console.print(f"The services' logs are in {home / 'logs'}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; all services have ended")
        return 130
    return 0


def _run(console: Console, home: Path, arguments: argparse.Namespace) -> None:
    parts = Parts(console, total=6)
    addresses = free_addresses()
    # The demo is to be the same everywhere: settings of the caller's own services stay outside.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRANDLOOM_")}
    environment = {**inherited, **embedded_environment(home, addresses, metrics=False)}
    with ExitStack() as cleanup:
        with parts.part("Starting the registry, labeler, trainer and inference services"):
            pictures = write_brands(home / "pictures")
            services = running(
                home,
                addresses,
                environment,
                lambda name, took: console.print(f"  {name} is ready ({took:.1f} s)"),
            )
            with console.status("  waiting for the services"):
                suite = cleanup.enter_context(services)
            cleanup.callback(console.print, "\nstopping the services")
            with suite.connect() as client:
                base_model = register_base_model(client)
                language_model = register_language_model(client)
        demo = Demo(
            output=home / "output",
            pictures={brand: home / "pictures" / brand / "train" for brand in pictures},
            base_model=base_model,
            language_model=language_model,
            max_steps=arguments.steps,
            generation_steps=arguments.generation_steps,
        )
        try:
            asyncio.run(Stages(console, demo).play(suite.connection(), parts.part))
        except BrandloomError:
            suite.check()  # a service that has ended explains more than the call that missed it
            raise
    console.print()
    for title, seconds in parts.taken:
        console.print(f"  {seconds:6.1f} s  {title}")
    console.print(f"  {sum(seconds for _, seconds in parts.taken):6.1f} s  in all")


class HomeError(Exception):
    """The demo's folder cannot be used."""


@contextmanager
def _fresh_home(home: Path) -> Iterator[None]:
    """An empty folder for this run alone; one that the demo did not make is left as it is."""
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()) and not (home / _MARKER).exists():
        raise HomeError(f"{home} holds something else: name an empty or new folder with --home")
    with (home.parent / f".{home.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeError(f"another demo is running in {home}") from None
        for entry in home.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        (home / _MARKER).touch()
        yield


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument(
        "--home", type=Path, default=ROOT / ".brandloom" / "demo", help="the demo's own folder"
    )
    parser.add_argument("--steps", type=int, help="training steps, for a quicker and worse result")
    parser.add_argument("--generation-steps", type=int, help="denoising steps, likewise")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
