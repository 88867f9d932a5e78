from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.trainer.leasing import Candidate, PackKey, Queue, QueueRules
from services.trainer.preemption import MakeWay, Running, Seat, who_makes_way
from services.trainer.spec import Precision
from tests.fixtures.trainer_jobs import NOW, spec

KEY = PackKey("b" * 64, 512, Precision.AUTO)
OTHER = PackKey("c" * 64, 512, Precision.AUTO)
RULES = QueueRules()
SEATS = (Seat("w1", 2, "CPU"),)


def waits(name: str, brand: str = "acme", *, seconds: float = 10, **changes: Any) -> Candidate:
    since = NOW - timedelta(seconds=seconds)
    fields: dict[str, Any] = {"priority": 0, "line_time": since, "waiting_since": since, "pack_key": KEY}
    return Candidate(name=name, brand=brand, **{**fields, **changes})


def trains(name: str, brand: str = "acme", *, seconds: float = 60, **changes: Any) -> Running:
    fields: dict[str, Any] = {"priority": 0, "pack_key": KEY, "worker": "w1"}
    since = NOW - timedelta(seconds=seconds)
    return Running(name=name, brand=brand, since=since, spec=spec(), **{**fields, **changes})


def way(waiting: list[Candidate], running: list[Running], seats: tuple[Seat, ...] = SEATS) -> MakeWay | None:
    counts: dict[str, int] = {}
    for job in running:
        counts[job.brand] = counts.get(job.brand, 0) + 1
    return who_makes_way(
        Queue(waiting=waiting, running=counts, served={}, now=NOW, rules=RULES), running, seats
    )


def leaves(waiting: list[Candidate], running: list[Running], seats: tuple[Seat, ...] = SEATS) -> list[str]:
    found = way(waiting, running, seats)
    return [] if found is None else sorted(job.name for job in found.victims)


FULL = [trains("a"), trains("b", seconds=30)]


def test_the_job_that_lost_least_makes_way_for_a_higher_priority() -> None:
    assert leaves([waits("urgent", priority=5)], FULL) == ["b"]
    found = way([waits("urgent", priority=5)], FULL)
    assert found is not None and found.why == "makes way for a job of priority 5"
    assert leaves([waits("urgent", priority=5)], [trains("a"), trains("b", priority=4, seconds=9)]) == ["a"]


def test_equal_priorities_never_make_way_for_each_other_in_a_pack() -> None:
    assert leaves([waits("patient", seconds=10**5)], FULL) == []


def test_nobody_makes_way_while_there_is_a_place() -> None:
    assert leaves([waits("urgent", priority=5)], FULL[:1]) == []
    assert leaves([waits("urgent", priority=5)], FULL, (*SEATS, Seat("w2", 8, "CPU"))) == []


def test_nobody_makes_way_for_a_job_that_has_just_come() -> None:
    assert leaves([waits("urgent", priority=5, seconds=1)], FULL) == []


def test_nobody_else_makes_way_while_somebody_leaves() -> None:
    running = [FULL[0], trains("b", makes_way=True)]
    assert leaves([waits("urgent", priority=5)], running) == []


def test_a_worker_that_never_lets_go_does_not_stop_the_others() -> None:
    stuck = [trains("a", makes_way=True), trains("z", brand="zeta", worker="w2")]
    seats = (Seat("w1", 1, "CPU"), Seat("w2", 1, "CPU"))
    urgent = [waits(name, "fresh", priority=5) for name in ("first", "second")]
    assert leaves(urgent[:1], stuck, seats) == [], "the place that a leaves is enough"
    assert leaves(urgent, stuck, seats) == ["z"]


def test_one_that_made_way_before_keeps_its_place_for_a_turn() -> None:
    turn = RULES.turn.total_seconds()
    urgent = [waits("urgent", priority=5)]
    alone = (Seat("w1", 1, "CPU"),)
    assert leaves(urgent, [trains("a", came_back=True, seconds=turn - 1)], alone) == []
    assert leaves(urgent, [trains("a", came_back=True, seconds=turn)], alone) == ["a"]


def test_a_pack_that_still_prepares_has_had_no_turn() -> None:
    long = RULES.turn.total_seconds()
    patient = [waits("patient", pack_key=OTHER, seconds=long)]
    assert leaves(patient, [trains("a", seconds=long, prepares=True)]) == []
    assert leaves(patient, [trains("a", seconds=long)]) == ["a"]


def test_priority_does_not_make_a_brand_take_more_than_its_share() -> None:
    greedy = [trains("a"), trains("z", brand="zeta")]
    assert leaves([waits("urgent", priority=100)], greedy) == ["a"]
    other = [trains("y", brand="yotta"), trains("z", brand="zeta"), trains("a", worker="w2")]
    seats = (*SEATS, Seat("w2", 1, "CPU"))
    assert leaves([waits("urgent", priority=100)], other, seats) == ["a"]
    assert leaves([waits("urgent", "fresh", priority=1)], other, seats) != []


def test_a_whole_pack_makes_way_for_a_higher_priority_on_another_base() -> None:
    assert leaves([waits("urgent", priority=1, pack_key=OTHER)], FULL) == ["a", "b"]
    mixed = [trains("a"), trains("b", priority=1)]
    assert leaves([waits("urgent", priority=1, pack_key=OTHER)], mixed) == []


def test_a_pack_makes_way_when_it_had_its_turn_and_another_has_waited_as_long() -> None:
    long = RULES.turn.total_seconds()
    old = [trains("a", seconds=long), trains("b", seconds=long)]
    assert leaves([waits("patient", pack_key=OTHER, seconds=long)], old) == ["a", "b"]
    assert leaves([waits("patient", pack_key=OTHER, seconds=long - 1)], old) == []
    assert leaves([waits("patient", pack_key=OTHER, seconds=long)], [old[0], trains("b")]) == []


def test_a_turn_gives_no_way_to_a_lower_priority_before_it_has_aged() -> None:
    long = RULES.turn.total_seconds()
    urgent = [trains("a", seconds=long, priority=3)]
    assert leaves([waits("low", pack_key=OTHER, seconds=long)], urgent) == []
    aged = RULES.aging.total_seconds()
    assert leaves([waits("low", pack_key=OTHER, seconds=aged)], urgent) == ["a"]


def test_a_job_that_must_be_alone_waits_for_a_whole_worker() -> None:
    assert leaves([waits("suspect", failures=2, priority=1)], FULL) == ["a", "b"]
    alone = [trains("suspect", is_suspect=True)]
    assert leaves([waits("other", priority=0)], alone) == []
