"""Sweeps: their grid, their faults, and the sheet of all cells."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from brandloom.api.inference.v1 import inference_pb2
from servicekit.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.inference.convert_sweep import sweep_request, sweep_response
from services.inference.domain import ImageRequest, Limits, StackEntry
from services.inference.domain_jobs import Picture, Progress, Queued
from services.inference.domain_sweep import MAX_CELLS, Cell, Place, Sheet, SweepRequest
from services.inference.sweep_faults import in_cell
from services.inference.sweep_sheet import MAX_PIXELS, SweepSheet, title_of

LONG = "a very long prompt about a red fox that rides a motorcycle through a city at night, " * 12
COLOURS = ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#ff00ff", "#00ffff"]


def a_sweep(
    prompts: int | list[str] = 1, seeds: int = 1, weights: tuple[float, ...] = (1.0,), **template: Any
) -> SweepRequest:
    texts = [f"prompt {n}" for n in range(prompts)] if isinstance(prompts, int) else prompts
    return SweepRequest(
        template=ImageRequest(brand="acme", prompt="", **template),
        prompts=tuple(texts),
        seeds=tuple(range(1000, 1000 + seeds)),
        weights=weights,
    )


def a_png(colour: str, width: int = 16, height: int = 16) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, format="PNG")
    return file.getvalue()


def drawn(request: SweepRequest, width: int = 16, height: int = 16) -> tuple[SweepSheet, Image.Image]:
    sheet = SweepSheet(request, title_of(request), width, height)
    png = a_png("#ff0000", width, height)
    for place in request.places():
        sheet.add(place, png)
    return sheet, Image.open(io.BytesIO(sheet.png()))


@pytest.mark.parametrize(
    ("request_", "size"),
    [
        (a_sweep(2, 3, (0.0, 0.5, 1.0)), (64, 64)),
        (a_sweep(2, 5), (512, 512)),
        (a_sweep(1, 64), (128, 128)),
        (a_sweep([LONG, "b", "c", "d", ""]), (512, 768)),
        (a_sweep(32, 32), (16, 16)),
        (a_sweep(16, 8, tuple(float(n) for n in range(8))), (64, 64)),
        (a_sweep([LONG] * 32, 1, (1.0,) * 32), (256, 32)),
        (a_sweep(["a" * 8000] * 8, 2), (64, 64)),
        (a_sweep(), (16, 16)),
        (a_sweep(1, 1, (0.0,) * 32), (1024, 64)),
    ],
    ids=["grid", "lines", "seeds", "prompts", "many", "bands", "long", "unbroken", "one", "wide"],
)
def test_every_cell_has_a_place_of_its_own_on_a_sheet_of_bounded_size(
    request_: SweepRequest, size: tuple[int, int]
) -> None:
    sheet, picture = drawn(request_, *size)
    assert picture.width * picture.height <= MAX_PIXELS
    places = sheet._places
    assert set(places) == set(request_.places())
    assert len(set(places.values())) == request_.size
    wide, high = sheet._cell_width, sheet._cell_height
    assert wide / high == pytest.approx(size[0] / size[1], rel=0.1)
    corners = sorted((y, x) for x, y in places.values())
    assert all(y2 >= y1 + high or x2 >= x1 + wide for (y1, x1), (y2, x2) in pairwise(corners) if y1 == y2)
    for x, y in places.values():
        assert x >= 0 and x + wide <= picture.width
        assert y >= 0 and y + high <= picture.height
        assert picture.getpixel((x + wide // 2, y + high // 2)) == (255, 0, 0)


def test_cells_are_drawn_where_their_labels_say() -> None:
    request = a_sweep(1, 2, (0.0, 1.0, 2.0))
    sheet = SweepSheet(request, "", 16, 16)
    for place, colour in zip(request.places(), COLOURS, strict=True):
        sheet.add(place, a_png(colour))
    xs = {place.weight: x for place, (x, _) in sheet._places.items()}
    ys = {place.seed: y for place, (_, y) in sheet._places.items()}
    assert xs[0] < xs[1] < xs[2]
    assert ys[0] < ys[1]
    [band] = sheet._bands
    assert band.columns == ("x 0", "x 1", "x 2")
    assert [label for label, _ in band.rows] == ["seed 1000", "seed 1001"]
    assert band.heading == "prompt 0"


def test_a_withheld_cell_stays_blank() -> None:
    request = a_sweep(1, 2)
    sheet = SweepSheet(request, "", 64, 64)
    sheet.add(Place(prompt=0, seed=0, weight=0), b"")
    sheet.add(Place(prompt=0, seed=1, weight=0), a_png("#ff0000"))
    picture = Image.open(io.BytesIO(sheet.png()))
    x, y = sheet._places[Place(prompt=0, seed=0, weight=0)]
    assert picture.getpixel((x + 80, y + 80)) == (222, 219, 210)


def test_the_title_says_what_all_cells_share() -> None:
    stack = (StackEntry(reference="hero@prod", weight=0.8), StackEntry(reference="neon", weight=0.5))
    assert title_of(a_sweep(2, 1, (0.5,), stack=stack, steps=9)) == (
        "hero@prod:0.8 + neon:0.5, seed 1000, weights x 0.5, 9 steps, DPM++ 2M, guidance 5"
    )


def test_the_number_of_cells_is_bounded() -> None:
    a_sweep(32, 32).check(Limits())
    with pytest.raises(InvalidArgument, match=f"1056 cells, at most {MAX_CELLS}"):
        a_sweep(32, 33).check(Limits())


def test_places_are_numbered_in_their_order() -> None:
    request = a_sweep(2, 3, (0.0, 1.0))
    assert [request.number(place) for place in request.places()] == list(range(12))


def test_a_fault_of_a_cell_says_which() -> None:
    request, place = a_sweep(2, 2, (0.5, 1.0)), Place(prompt=1, seed=0, weight=0)
    fault = in_cell(InvalidArgument.of("prompt", "is odd", reason="ODD"), request, place)
    assert isinstance(fault, InvalidArgument)
    assert [(item.field, item.description) for item in fault.violations] == [("prompts[1]", "is odd")]
    assert fault.reason == "ODD"
    failed = in_cell(FailedPrecondition("no", reason="NO", metadata={"reference": "hero"}), request, place)
    assert str(getattr(failed, "message", "")) == (
        "the cell of prompts[1], seed 1000 and weight 0.5 failed: no"
    )
    assert getattr(failed, "metadata", {})["reference"] == "hero"
    away = Unavailable("away", retry_after_seconds=2)
    assert in_cell(away, request, place) is away


def test_requests_and_answers_convert() -> None:
    template = inference_pb2.GenerateImagesRequest(parent="brands/acme", steps=3)
    message = inference_pb2.GenerateSweepRequest(
        template=template, prompts=["a", "b"], seeds=[7, 8], weights=[0.5]
    )
    request = sweep_request(message)
    assert (request.prompts, request.seeds, request.weights) == (("a", "b"), (7, 8), (0.5,))
    assert (request.template.brand, request.template.steps, request.template.count) == ("acme", 3, 1)
    picture = Picture(index=3, seed=8, width=16, height=16, png=b"png", sha256="ab")
    events = [
        Queued(position=1, stack=(), seed=7, base_model_sha256="cd"),
        Progress(step=3, total_steps=12, seconds_left=1.5),
        Cell(place=Place(prompt=1, seed=1, weight=0), picture=picture),
        Sheet(png=b"sheet"),
    ]
    answers = [sweep_response(event) for event in events]
    assert [answer.WhichOneof("message") for answer in answers] == ["queued", "progress", "cell", "sheet_png"]
    assert (answers[2].cell.prompt_index, answers[2].cell.seed_index, answers[2].cell.image.seed) == (1, 1, 8)
