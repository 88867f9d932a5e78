"""Who is next, and what there is room for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from services.inference.engine.admission import Room, Turns


@dataclass(slots=True)
class Waiting:
    """A job that wants rows."""

    brand: str
    priority: int = 0
    active: int = 0
    arrival: int = 0
    wanted: int = 1

    @property
    def job(self) -> Waiting:
        """Itself: there is no more to it."""
        return self


def served(jobs: list[Waiting], rows: int) -> list[Waiting]:
    """Who gets so many rows, when none leaves."""
    brands: Counter[str] = Counter()
    turns = Turns()
    order: list[Waiting] = []
    while len(order) < rows and (job := turns.next((job for job in jobs if job.active < job.wanted), brands)):
        turns.serve(job.brand)
        job.active += 1
        brands[job.brand] += 1
        order.append(job)
    return order


def test_brands_take_turns_however_many_requests_one_has() -> None:
    flood = [Waiting("flood", arrival=number) for number in range(100)]
    single = Waiting("single", arrival=1000)
    order = served([*flood, single], 8)
    assert single in order[:2]
    assert order[0] is flood[0]


def test_priority_decides_within_a_brand_and_not_between_brands() -> None:
    low, high = Waiting("acme", priority=-5, arrival=0), Waiting("acme", priority=5, arrival=1)
    other = Waiting("other", priority=-100, arrival=2)
    assert served([low, high, other], 3) == [high, other, low]


def test_brands_take_turns_where_there_is_one_row_only() -> None:
    """Nobody has a row when the next one is free: who was served longest ago comes next."""
    waiting = [Waiting("flood", arrival=number) for number in range(5)] + [Waiting("other", arrival=9)]
    turns, order = Turns(), []
    while job := turns.next(waiting, {}):
        turns.serve(job.brand)
        waiting.remove(job)
        order.append(job.brand)
    assert order == ["flood", "other", "flood", "flood", "flood", "flood"]


def test_no_brand_comes_first_for_its_priorities() -> None:
    patient, pushing = (
        Waiting("patient", priority=-100, arrival=0),
        Waiting("pushing", priority=100, arrival=1),
    )
    assert served([pushing, patient], 1) == [patient]


def test_a_request_for_many_pictures_holds_up_no_other() -> None:
    many, one = Waiting("acme", wanted=50, arrival=0), Waiting("acme", arrival=1)
    assert served([many, one], 2) == [many, one]


@given(
    st.lists(
        st.builds(
            Waiting,
            brand=st.sampled_from("abc"),
            priority=st.integers(-2, 2),
            arrival=st.integers(0, 1000),
            wanted=st.integers(1, 5),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 40),
)
def test_no_brand_has_two_rows_more_than_one_that_waits(jobs: list[Waiting], rows: int) -> None:
    order = served(jobs, rows)
    assert len(order) == min(rows, sum(job.wanted for job in jobs))
    taken = Counter(job.brand for job in order)
    for brand in {job.brand for job in jobs if job.active < job.wanted}:
        assert all(taken[brand] >= count - 1 for count in taken.values())


def test_room_is_bounded_by_rows_and_by_bytes() -> None:
    room = Room(max_rows=4, max_bytes=100)
    # More rows than the whole batch would else wait for ever; for more bytes there is no hope.
    assert room.has(9, 100)
    assert room.never_has(101)
    room.take(2, 60)
    assert not room.never_has(101)
    assert room.has(2, 40)
    assert not room.has(3, 0)
    assert not room.has(1, 41)
