"""What the engine says of a job, kept for its reader."""

from __future__ import annotations

import asyncio

import pytest

from servicekit.errors import Unavailable
from services.inference.domain_jobs import EngineEvent, Preview, Progress, RawPicture
from services.inference.engine_flights import Ended, Flights


def progress(step: int) -> Progress:
    return Progress(step=step, total_steps=99, seconds_left=0.0)


def preview(index: int, step: int) -> Preview:
    return Preview(index=index, step=step, width=1, height=1, png=b"p")


def picture(index: int) -> RawPicture:
    return RawPicture(index=index, seed=0, width=1, height=1, png=b"r")


async def read(flights: Flights) -> list[EngineEvent]:
    return [event async for event in flights.events("job")]


async def test_a_reader_that_keeps_up_gets_everything() -> None:
    flights = Flights()
    flights.begin("job")
    told = [progress(1), preview(0, 1), progress(2), preview(0, 2), picture(0)]

    async def tell() -> None:
        for event in [*told, Ended()]:
            flights.deliver("job", event)
            await asyncio.sleep(0.001)

    events, _ = await asyncio.gather(read(flights), tell())
    assert events == told
    assert len(flights) == 0


async def test_a_slow_reader_gets_every_picture_and_the_last_word_of_the_rest() -> None:
    flights = Flights()
    flights.begin("job")
    for step in range(1000):
        flights.deliver("job", progress(step))
        flights.deliver("job", preview(0, step))
        flights.deliver("job", preview(1, step))
        if step in (500, 800):
            flights.deliver("job", picture(step))
    flights.deliver("job", Ended())
    assert await read(flights) == [
        picture(500),
        picture(800),
        progress(999),
        preview(0, 999),
        preview(1, 999),
    ]


async def test_the_end_is_told_after_what_came_before_it() -> None:
    flights = Flights()
    flights.begin("job")
    flights.deliver("job", picture(0))
    flights.deliver("other", picture(0))
    flights.fail_all(Unavailable("gone", reason="ENGINE_GONE"))
    events = []
    with pytest.raises(Unavailable, match="gone"):
        async for event in flights.events("job"):
            events.append(event)
    assert events == [picture(0)]
