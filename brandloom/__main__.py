"""`python -m brandloom` is the command `brandloom`."""

from __future__ import annotations

from brandloom.cli.main import main

if __name__ == "__main__":
    main()
