"""The cheapest case of every part of the serving benchmark: that it runs, and that both sides do the same."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.bases import TINY, Size
from benchmarks.serve.__main__ import PARTS
from benchmarks.serve.bench import Bench, Setting
from benchmarks.serve.mixed_batch import MixedBatchPeer
from benchmarks.serve.requests import mixed
from benchmarks.serve.sides import our_engine, stock

SMALL = Size(name=TINY.name, channels=TINY.channels, layers=1, width=TINY.width, resolution=64)

pytestmark = [
    # What the peers' libraries warn of is not ours to mend.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(
        home=tmp_path_factory.mktemp("bench"),
        device="cpu",
        precision="float32",
        hardware="a test",
        seconds=0.0,
        least_runs=1,
        settings=[Setting(size=SMALL, rows=3, steps=2)],
        joining=Setting(size=SMALL, rows=2, steps=2),
        attached=[SMALL],
        arrivals=10,
    )


def pixels(pngs: list[bytes]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs]).astype(int)


def test_both_sides_make_the_same_pictures(bench: Bench) -> None:
    setting = bench.smallest
    pool = bench.pool(setting.size, setting.rows, setting.rank)
    requests = mixed(setting, pool)
    engine, peer = our_engine(bench, setting), stock(bench, setting)
    ours = pixels(engine.pictures(requests))
    engine.close()
    for lora in pool:
        peer.load(lora)
    plain = pixels(peer.pictures(requests))
    theirs = []
    for request in requests:
        peer.choose(request)
        theirs += peer.pictures([request])
    assert np.abs(ours - pixels(theirs)).max() <= 1
    assert np.abs(ours - plain).max() > 1, "the LoRAs change nothing"
    batched = MixedBatchPeer(stock(bench, setting), requests, setting.rank)
    assert np.abs(ours - pixels(batched.pictures())).max() <= 1


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_runs(bench: Bench, part: str) -> None:
    results = list(PARTS[part](bench))
    assert results
    for result in results:
        assert result.ratio == part
        assert result.value > 0
        assert result.ours > 0
        assert result.theirs > 0


def test_bases_are_written_once(bench: Bench) -> None:
    directory: Path = bench.base(SMALL)
    written = (directory / "model_index.json").stat().st_mtime_ns
    assert (bench.base(SMALL) / "model_index.json").stat().st_mtime_ns == written
