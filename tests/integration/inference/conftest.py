"""Base models with LoRA files and their stock pipelines, for the whole session: tests only read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.stock_world import StockWorld, stock_world
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline

DEMO = Path(__file__).resolve().parents[3] / "demo" / "models" / "sd-tiny"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> StockWorld:
    """Random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    return stock_world(save_tiny_pipeline(folder / "base"), folder, size=0.2)


@pytest.fixture(scope="session")
def sdxl_world(tmp_path_factory: pytest.TempPathFactory) -> StockWorld:
    """Two text encoders, pooled texts and sizes."""
    folder = tmp_path_factory.mktemp("tiny-sdxl")
    return stock_world(save_tiny_sdxl_pipeline(folder / "base"), folder, size=0.1)


@pytest.fixture(scope="session")
def demo_world(tmp_path_factory: pytest.TempPathFactory) -> StockWorld:
    """The base model of the demo."""
    if not (DEMO / "model_index.json").is_file():
        pytest.skip("demo/models/sd-tiny is not there; make demo-models builds it")
    return stock_world(DEMO, tmp_path_factory.mktemp("demo"), size=0.05)
