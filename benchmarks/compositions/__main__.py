"""`make bench-compositions`: which composition keeps each LoRA best as the stack grows from one to four.

Kept is how near pictures of a stack come to a brand's held-out pictures, as a part of how near those with
its LoRA alone come; both are counted from the base model's own. Nearness is that of demo.recipe.evaluate.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Final

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.compositions.brands import STUDIED
from benchmarks.compositions.drawing import Drawer, Way
from benchmarks.compositions.loras import MODELS, held_out, train_files
from benchmarks.hardware import describe
from benchmarks.report import RESULTS
from demo.brands import BrandSet
from demo.recipe.captioner import Captioner
from demo.recipe.evaluate import nearness
from services.inference.domain import Composition

WAYS: Final = (
    Way("add", Composition.ADD, 1.0),
    Way("add, weights 0.8", Composition.ADD, 0.8),
    Way("switch", Composition.SWITCH, 1.0),
    Way("composite", Composition.COMPOSITE, 1.0),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """One cell of the table."""

    composition: str
    loras: int
    """In the stack."""
    kept: float
    """Mean over all stacks of that many, and over the LoRAs in each."""
    worst: float
    """That of the LoRA and stack which fare worst."""
    pictures: int
    hardware: str


def main() -> None:
    """Trains, draws, measures; prints the table and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawings", type=int, default=2, help="pictures of each scene")
    options = parser.parse_args()
    captioner = Captioner(MODELS / "blip-tiny")
    with TemporaryDirectory() as folder:
        files = train_files(STUDIED, captioner, Path(folder))
        with Drawer(files, options.drawings) as drawer:
            results = list(_results(drawer, captioner))
    (RESULTS / "compositions-cpu.json").write_text(
        json.dumps([asdict(result) for result in results], indent=1) + "\n"
    )
    _print(results)


def _results(drawer: Drawer, captioner: Captioner) -> Iterator[Kept]:
    reference = {brand.brand: held_out(brand) for brand in STUDIED}

    def near(stack: Sequence[BrandSet], way: Way, triggers: Sequence[BrandSet]) -> dict[str, float]:
        pictures = drawer.draw(stack, way, triggers)
        return {brand.brand: nearness(captioner, pictures, reference[brand.brand]) for brand in triggers}

    alone = WAYS[0]
    base = {brand.brand: near((), alone, (brand,))[brand.brand] for brand in STUDIED}
    gain = {
        brand.brand: near((brand,), alone, (brand,))[brand.brand] - base[brand.brand] for brand in STUDIED
    }
    hardware = describe("cuda" if torch.cuda.is_available() else "cpu")
    for way in WAYS:
        for size in range(1, len(STUDIED) + 1):
            stacks = list(combinations(STUDIED, size))
            kept = [
                (found - base[brand]) / gain[brand]
                for stack in stacks
                for brand, found in near(stack, way, stack).items()
            ]
            yield Kept(
                composition=way.title,
                loras=size,
                kept=fmean(kept),
                worst=min(kept),
                pictures=len(stacks) * drawer.pictures,
                hardware=hardware,
            )


def _print(results: Sequence[Kept]) -> None:
    table = Table(title=f"Kept of each LoRA, mean (worst) ({results[0].hardware})", title_justify="left")
    sizes = sorted({result.loras for result in results})
    for heading in ("composition", *(f"{size} LoRA{'s' if size > 1 else ''}" for size in sizes)):
        table.add_column(heading)
    for way in dict.fromkeys(result.composition for result in results):
        line = {result.loras: result for result in results if result.composition == way}
        table.add_row(way, *(f"{line[size].kept:.2f} ({line[size].worst:.2f})" for size in sizes))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
