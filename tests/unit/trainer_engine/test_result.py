"""What training leaves behind: a file that stock diffusers reads, plots, event files, progress."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from lorakit.adapter import load_adapter, save_kohya
from lorakit.families.sd15 import BaseModel
from lorakit.formats import inspect_file
from lorakit.metadata import TrainingFacts, build_metadata
from services.trainer.engine import Pack, SampleSettings, StepReport
from services.trainer.engine.data_order import DataOrder
from services.trainer.engine.device_memory import taken_bytes
from services.trainer.engine.learning_rate import learning_rate_factor
from services.trainer.engine.loss_plot import draw_loss_plot
from services.trainer.engine.progress import PackMeter, PackReport, Progress, ProgressMeter
from services.trainer.engine.tensorboard_log import TensorBoardLog
from tests.fixtures.training import images, spec

FACTS = TrainingFacts(
    output_name="hero",
    family="sd15",
    rank=4,
    alpha=8.0,
    title="hero",
    finished_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_stock_diffusers_does_what_training_did(
    new_pack: Callable[..., Pack], base: BaseModel, base_directory: Path, tmp_path: Path
) -> None:
    pack = new_pack()
    everything = spec(train_text_encoder=True, alpha=8.0, learning_rate=2e-2, text_encoder_learning_rate=2e-2)
    pack.add("a", everything, images())
    while pack.step():
        pass
    path = tmp_path / "hero.safetensors"
    save_kohya(pack.adapter("a"), path, build_metadata(FACTS), dtype=torch.float32)
    assert inspect_file(path).alpha == 8.0
    assert set(load_adapter(path, base_modules=pack.base_modules).components) == {
        "unet",
        "text_encoder",
    }
    ours = pack.sample("a", ["a thing"], SampleSettings(seed=1, steps=5, guidance_scale=4.0))[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import DPMSolverMultistepScheduler

        stock = StableDiffusionPipeline.from_pretrained(base_directory, safety_checker=None)
        stock.set_progress_bar_config(disable=True)
        stock.scheduler = DPMSolverMultistepScheduler.from_config(stock.scheduler.config)

        def picture() -> np.ndarray:
            made = stock(
                "a thing",
                num_inference_steps=5,
                guidance_scale=4.0,
                generator=torch.Generator().manual_seed(1),
                output_type="np",
            )
            return made.images[0] * 255

        without = picture()
        stock.load_lora_weights(str(tmp_path), weight_name=path.name)
        with_lora = picture()
    assert np.abs(with_lora - ours).max() <= 1.0
    assert np.abs(with_lora - without).max() > 5.0


def report(step: int, loss: float = 1.0, rows: int = 4) -> StepReport:
    return StepReport(
        job_id="a",
        step=step,
        total_steps=10,
        epoch=1,
        loss=loss,
        learning_rate=1e-4,
        rows=rows,
        finished=False,
        fault=None,
    )


def test_progress_counts_speed_and_time_left() -> None:
    times: Iterator[float] = iter([0.0, 2.0, 4.0, 104.0, 106.0])
    meter = ProgressMeter(lambda: next(times))
    first = meter.update(report(1))
    assert (first.images_per_second, first.seconds_left, first.smoothed_loss) == (0.0, None, 1.0)
    meter.update(report(2))
    third = meter.update(report(3, loss=2.0))
    assert third.images_per_second == pytest.approx(2.0)
    assert third.seconds_left == pytest.approx(14.0)
    assert 1.0 < third.smoothed_loss < 2.0
    meter.pause()
    meter.update(report(4))
    assert meter.update(report(5, loss=float("nan"))).images_per_second == pytest.approx(2.0)


def test_a_pack_is_as_fast_as_its_jobs_together() -> None:
    times: Iterator[float] = iter([0.0, 2.0, 4.0, 6.0, 106.0, 108.0])
    meter = PackMeter(lambda: next(times))
    city = replace(report(1, rows=2), job_id="b")
    assert meter.update([report(1), city]) == 0.0
    assert meter.update([report(2), city]) == pytest.approx(3.0)
    assert meter.update([report(3)]) == 0.0  # another pack: its first step tells nothing yet
    assert meter.update([report(4)]) == pytest.approx(2.0)
    meter.pause()
    assert meter.update([report(5)]) == pytest.approx(2.0)
    evaluated = replace(report(6), pause_seconds=1.0)
    assert meter.update([evaluated]) > 2.0


def test_memory_that_is_taken_is_told() -> None:
    before = taken_bytes(torch.device("cpu"))
    held = torch.ones(64 << 20, dtype=torch.uint8)
    assert taken_bytes(torch.device("cpu")) - before > 32 << 20
    del held


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1, 1]),
        ("constant_with_warmup", [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25]),
        ("cosine", [1 / 3, 2 / 3, 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    found = [learning_rate_factor(schedule, step, warmup_steps=2, total_steps=6) for step in range(6)]
    assert found == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="hexagon"):
        learning_rate_factor("hexagon", 5, warmup_steps=0, total_steps=6)


def test_order_deals_every_index_once_an_epoch() -> None:
    order = DataOrder([None] * 5, 2, torch.Generator().manual_seed(1))
    epochs = [[order.next_batch() for _ in range(3)] for _ in range(2)]
    assert [sorted(index for batch in epoch for index in batch) for epoch in epochs] == [[0, 1, 2, 3, 4]] * 2
    assert epochs[0] != epochs[1]
    assert order.epoch == 2


def test_the_loss_plot_is_a_picture(tmp_path: Path) -> None:
    for name, points in (("full", [(step, 1 / step, 1.1 / step) for step in range(1, 50)]), ("empty", [])):
        draw_loss_plot(tmp_path / f"{name}.png", "hero: $5_", points)
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.size == (800, 450)


def test_the_loss_plot_shows_evaluations(tmp_path: Path) -> None:
    points = [(step, 1 / step, 1.1 / step) for step in range(1, 50)]
    draw_loss_plot(tmp_path / "plain.png", "hero", points)
    draw_loss_plot(tmp_path / "evaluated.png", "hero", points, [(10, 0.5), (20, 0.4)])
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "evaluated.png").read_bytes()


def test_tensorboard_reads_its_files_back(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLog(tmp_path / "log")
    for step in (1, 2):
        log.add(
            Progress(
                step=step,
                total_steps=2,
                epoch=1,
                loss=0.5 / step,
                smoothed_loss=0.5,
                learning_rate=1e-4,
                images_per_second=3.0,
                seconds_left=None,
            )
        )
    log.add_pack(
        2,
        PackReport(
            job_ids=frozenset({"a", "b"}), images_per_second=6.0, step_seconds=1.0, device_memory_bytes=1024
        ),
    )
    log.add_validation(2, 0.75)
    log.add_picture(2, "a thing", np.zeros((16, 16, 3), dtype=np.uint8))
    (path,) = log.close()
    assert path.name.startswith("events.out.tfevents.")
    assert len(path.name.split(".")) == 5
    events = EventAccumulator(str(path.parent))
    events.Reload()
    assert [event.value for event in events.Scalars("train/loss")] == [0.5, 0.25]
    assert events.Tags()["images"] == ["samples/a_thing"] or events.Tags()["images"] == ["samples/a thing"]
    told = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    assert told == pytest.approx(
        {
            "train/loss": 0.25,
            "train/smoothed_loss": 0.5,
            "train/learning_rate": 1e-4,
            "train/images_per_second": 3.0,
            "pack/images_per_second": 6.0,
            "pack/size": 2.0,
            "pack/device_memory_bytes": 1024.0,
            "validation/loss": 0.75,
        }
    )
