"""What every test shares: real servers as fixtures and quiet, reproducible libraries."""

from __future__ import annotations

import os

# Set before torch or transformers are imported by any test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

pytest_plugins = ["tests.fixtures.s3", "tests.fixtures.postgres"]
