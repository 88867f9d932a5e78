"""`python -m demo.brands --out FOLDER` writes the three brands' raw pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from demo.brands.sets import write_brands


def main() -> None:
    """Parse the folder and write."""
    parser = argparse.ArgumentParser(prog="python -m demo.brands", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for <brand>/train and <brand>/held-out"
    )
    for name, parts in write_brands(parser.parse_args().out).items():
        print(name, *(f"{part}: {len(files)} pictures" for part, files in parts.items()), sep="  ")


if __name__ == "__main__":
    main()
