"""The queue's bounds, and what it says of the time until there is room."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from servicekit.errors import Unavailable
from services.inference.domain import Limits
from services.inference.service_queue import LONGEST_SECONDS, UNMEASURED_SECONDS, RequestQueue


class Meter:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.depths: dict[str, int] = {}
        self.waited: list[float] = []
        self.refused: list[str] = []

    def queue_changed(self, waiting: int, brand: str, of_brand: int) -> None:
        self.depths[brand] = of_brand
        self.depths[""] = waiting

    def fetching_changed(self, fetching: int) -> None:
        self.fetching = fetching

    def request_refused(self, queue: str) -> None:
        self.refused.append(queue)

    def request_started(self, waited_seconds: float) -> None:
        self.waited.append(waited_seconds)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def queue_of(max_queued: int, share: float = 0.5) -> tuple[RequestQueue, Meter, Clock]:
    meter, clock = Meter(), Clock()
    limits = Limits(max_queued=max_queued, brand_share=share)
    return RequestQueue(limits, meter, clock=clock), meter, clock  # type: ignore[arg-type]


def refusal(queue: RequestQueue, brand: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        queue.join(brand)
    assert caught.value.reason == "QUEUE_FULL"
    return caught.value


def test_no_brand_takes_more_than_its_share() -> None:
    queue, meter, _ = queue_of(6)
    for _ in range(3):
        queue.join("acme")
    assert refusal(queue, "acme").metadata == {"queue": "brand"}
    places = [queue.join("globex") for _ in range(3)]
    assert refusal(queue, "initech").metadata == {"queue": "all"}
    assert queue.waiting_by_brand == {"acme": 3, "globex": 3}
    places[0].started()
    queue.join("initech")
    assert meter.refused == ["brand", "all"]
    assert meter.depths == {"acme": 3, "globex": 2, "initech": 1, "": 6}


def test_one_place_at_least_for_each_brand() -> None:
    queue, _, _ = queue_of(1)
    queue.join("acme")
    assert queue.waiting == 1


def test_a_place_is_left_once() -> None:
    queue, meter, clock = queue_of(4)
    place = queue.join("acme")
    clock.now += 2.0
    place.started()
    place.leave()
    assert (queue.waiting, meter.waited, dict(queue.waiting_by_brand)) == (0, [2.0], {})
    given_up = queue.join("acme")
    given_up.leave()
    assert (queue.waiting, meter.waited) == (0, [2.0])


def test_positions_count_those_who_came_before_and_still_wait() -> None:
    queue, _, _ = queue_of(8, 1.0)
    first, second, third = (queue.join("acme") for _ in range(3))
    assert [place.ahead for place in (first, second, third)] == [0, 1, 2]
    second.started()
    assert [place.ahead for place in (first, third)] == [0, 1]
    first.leave()
    assert third.ahead == 0


def test_the_time_told_is_measured_and_shared_out() -> None:
    queue, _, clock = queue_of(4, 1.0)
    places = [queue.join("acme") for _ in range(4)]
    for place in places[:3]:  # one leaves every two seconds
        clock.now += 2.0
        place.started()
        queue.join("acme")
    told = [refusal(queue, "acme").retry_after_seconds for _ in range(3)]
    # Each is told of a place that the ones before have not been promised.
    assert told == pytest.approx([2.0, 4.0, 6.0])
    clock.now += 2.0
    again = refusal(queue, "acme").retry_after_seconds
    # One promise has come due, and a place every (8 - 2) / 2 seconds is what is measured now.
    assert again == pytest.approx(9.0)


def test_a_queue_that_stands_says_so_within_bounds() -> None:
    queue, _, clock = queue_of(1, 1.0)
    queue.join("acme").started()
    queue.join("acme")
    clock.now += 1000.0
    assert [refusal(queue, "acme").retry_after_seconds for _ in range(50)] == [LONGEST_SECONDS] * 50


def test_idle_time_does_not_count_as_slowness() -> None:
    queue, _, clock = queue_of(1, 1.0)
    for _ in range(3):
        place = queue.join("acme")
        clock.now += 2.0
        place.started()
    clock.now += 3600.0
    queue.join("acme")
    assert refusal(queue, "acme").retry_after_seconds == pytest.approx(2.0)


def test_who_waits_for_files_takes_no_place() -> None:
    queue, meter, _ = queue_of(4)
    with ExitStack() as fetching:
        for _ in range(2):
            fetching.enter_context(queue.join("acme").aside())
        place = queue.join("acme")
        assert (queue.waiting, dict(queue.waiting_by_brand), meter.fetching) == (1, {"acme": 1}, 2)
        with pytest.raises(Unavailable) as caught, place.aside():
            pytest.fail("there is no room")
        assert (caught.value.reason, caught.value.metadata) == ("QUEUE_FULL", {"queue": "fetching_brand"})
        assert "2 requests of brands/acme wait for files or the registry already" in caught.value.message
        assert caught.value.retry_after_seconds == UNMEASURED_SECONDS
        for _ in range(2):
            fetching.enter_context(queue.join("globex").aside())
        with pytest.raises(Unavailable) as caught, queue.join("initech").aside():
            pytest.fail("there is no room")
        assert caught.value.metadata == {"queue": "fetching_all"}
    # Nobody who has waited for files is refused for want of a place.
    assert (queue.waiting, meter.fetching) == (6, 0)
    assert refusal(queue, "acme").metadata == {"queue": "brand"}


def test_who_steps_aside_and_comes_back_makes_no_queue_quick() -> None:
    queue, _, clock = queue_of(1, 1.0)
    for _ in range(3):
        place = queue.join("acme")
        clock.now += 2.0
        place.started()
    place = queue.join("acme")
    for _ in range(9):
        with place.aside():
            clock.now += 0.01
    assert refusal(queue, "acme").retry_after_seconds == pytest.approx(2.0, abs=0.1)
    place.leave()
    assert queue.waiting == 0
