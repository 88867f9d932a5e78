"""What every test shares: real servers as fixtures and quiet, reproducible libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from servicekit.large_imports import large_imports

# Set before torch or transformers are imported by any test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests run beside one another, and so do the services that they start: threads beyond the cores that are
# idle make every step many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is slow, which is no fault of the code: only what a test asserts may fail it.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

pytest_plugins = ["tests.fixtures.s3", "tests.fixtures.postgres"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collecting the tests imports torch, diffusers and all of the services."""
    with large_imports():
        return (yield)
