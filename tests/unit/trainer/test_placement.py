from __future__ import annotations

import math
from datetime import timedelta

import pytest

from services.trainer.leasing import Candidate, PackKey, Queue, QueueRules
from services.trainer.placement import Placement, Standing, placements
from services.trainer.preemption import Running, Seat
from services.trainer.spec import Precision
from tests.fixtures.trainer_jobs import NOW, spec

KEY = PackKey("b" * 64, 512, Precision.AUTO)
OTHER = PackKey("c" * 64, 512, Precision.AUTO)
WORKER = Seat("w1", 2, "CPU")


def waits(name: str, brand: str = "acme", *, age: float = 10, key: PackKey = KEY) -> Candidate:
    since = NOW - timedelta(seconds=age)
    return Candidate(
        name=name,
        brand=brand,
        priority=0,
        line_time=since,
        waiting_since=since,
        pack_key=key,
        steps_left=100,
    )


def trains(name: str, *, seconds_left: float | None = 50.0, makes_way: bool = False) -> Running:
    return Running(
        name=name,
        brand="acme",
        priority=0,
        pack_key=KEY,
        worker="w1",
        since=NOW,
        steps_left=100,
        seconds_left=seconds_left,
        makes_way=makes_way,
        spec=spec(),
    )


def placed(
    waiting: list[Candidate], running: list[Running], *seats: Seat, rules: QueueRules | None = None
) -> dict[str, Placement]:
    counts = {"acme": len(running)} if running else {}
    queue = Queue(waiting=waiting, running=counts, served={}, now=NOW, rules=rules or QueueRules())
    return placements(queue, running, seats)


def test_jobs_of_one_pack_know_how_many_train_with_them() -> None:
    found = placed([], [trains("a"), trains("b", makes_way=True)], WORKER)
    assert (found["a"].standing, found["a"].companions) == (Standing.TRAINING, 1)
    assert found["a"].why == "trains with 1 other job"
    assert found["b"].standing is Standing.LEAVING


def test_a_free_place_is_taken_now() -> None:
    found = placed([waits("next")], [trains("a")], WORKER)["next"]
    assert (found.standing, found.start, found.position) == (Standing.NEXT, NOW, 0)


def test_a_job_of_a_full_pack_starts_when_the_first_one_ends() -> None:
    running = [trains("a", seconds_left=50.0), trains("b", seconds_left=20.0)]
    found = placed([waits("first", age=20), waits("second"), waits("third", age=5)], running, WORKER)
    assert found["first"].start == NOW + timedelta(seconds=20)
    assert found["second"].start == NOW + timedelta(seconds=50)
    # 100 steps at the mean of 0.35 s, from when the first one began.
    assert found["third"].start == NOW + timedelta(seconds=55)
    assert [found[name].position for name in ("first", "second", "third")] == [0, 1, 2]
    assert found["first"].standing is Standing.PACK_FULL
    assert found["first"].why == "all places are taken by 2 jobs that it could train with"


def test_a_job_of_another_base_starts_when_the_pack_is_over() -> None:
    running = [trains("a", seconds_left=50.0), trains("b", seconds_left=20.0)]
    found = placed([waits("other", key=OTHER)], running, WORKER)["other"]
    assert (found.standing, found.start) == (Standing.OTHER_PACKS, NOW + timedelta(seconds=50))
    assert found.why == "the workers train packs that it cannot join; they take turns"


def test_nothing_is_promised_where_nothing_tells() -> None:
    running = [trains("a", seconds_left=None), trains("b", seconds_left=None)]
    assert placed([waits("first")], running, WORKER)["first"].start is None


@pytest.mark.parametrize("seconds", [1e15, math.inf, math.nan])
def test_nothing_is_promised_that_lies_too_far_ahead(seconds: float) -> None:
    """One job that takes for ever does not keep others from being told where they stand."""
    running = [trains("a", seconds_left=seconds), trains("b", seconds_left=20.0)]
    found = placed([waits("first"), waits("second", age=5)], running, WORKER)
    assert found["first"].start == NOW + timedelta(seconds=20)
    assert found["second"].start is None
    alone = placed([waits("first"), waits("second", age=5)], running[:1], Seat("w1", 1, "CPU"))
    assert alone["first"].start is None


def test_without_workers_nothing_starts() -> None:
    found = placed([waits("a")], [])["a"]
    assert (found.standing, found.start) == (Standing.NO_WORKER, None)


def test_a_job_that_waits_after_a_failure_says_so() -> None:
    found = placed([waits("again", age=-30)], [], WORKER)["again"]
    assert (found.standing, found.why) == (Standing.BACKING_OFF, "is tried again in 30 s")
    assert found.start == NOW + timedelta(seconds=30)


def test_positions_are_those_of_the_packer_not_of_arrival() -> None:
    flood = [waits(f"a{n}", age=100 - n) for n in range(5)]
    found = placed([*flood, waits("z", "zeta", age=1)], [trains("t")], Seat("w1", 1, "CPU"))
    assert [name for name, _ in sorted(found.items(), key=lambda item: item[1].position) if name != "t"] == [
        "z",
        "a0",
        "a1",
        "a2",
        "a3",
        "a4",
    ]


def test_a_long_line_is_told_its_positions_all_the_same() -> None:
    flood = [waits(f"j{n:03d}", age=1000 - n) for n in range(500)]
    found = placed(flood, [trains("t")], Seat("w1", 1, "CPU"))
    assert found["j499"].position == 499
    assert found["j499"].start is None
    assert found["j000"].start == NOW + timedelta(seconds=50)
