from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.trainer.leasing import Candidate, PackKey, Queue, QueueRules, Wish, choose
from services.trainer.spec import Precision
from tests.fixtures.trainer_jobs import NOW

KEY = PackKey("b" * 64, 512, Precision.AUTO)
OTHER = PackKey("c" * 64, 512, Precision.AUTO)
LATER = NOW + timedelta(seconds=1000)
RULES = QueueRules(longest_wait=timedelta(seconds=120))


def candidate(name: str, brand: str = "acme", age: int = 0, **changes: Any) -> Candidate:
    time = NOW - timedelta(seconds=age)
    fields: dict[str, Any] = {
        "priority": 0,
        "line_time": time,
        "waiting_since": time,
        "pack_key": KEY,
    }
    return Candidate(name=name, brand=brand, **{**fields, **changes})


def chosen(waiting: list[Candidate], running: dict[str, int] | None = None, **wish: Any) -> list[str]:
    queue = Queue(waiting=waiting, running=running or {}, served={}, now=NOW, rules=RULES)
    found = choose(queue, Wish(**{"max_jobs": 8, **wish}))
    return [one.name for one in found]


def test_brands_take_turns_however_many_jobs_one_has() -> None:
    waiting = [candidate(f"a{n}", "acme", age=100 - n) for n in range(5)] + [candidate("z", "zeta")]
    assert chosen(waiting, max_jobs=3) == ["a0", "z", "a1"]


def test_a_brand_that_trains_already_comes_after_one_that_does_not() -> None:
    waiting = [candidate("a", "acme", age=50), candidate("z", "zeta")]
    assert chosen(waiting, {"acme": 2}, max_jobs=1) == ["z"]


def test_within_a_brand_priority_comes_before_age() -> None:
    waiting = [candidate("old", age=50), candidate("new", priority=5), candidate("older", age=60)]
    assert chosen(waiting) == ["new", "older", "old"]


def test_a_pack_shares_base_resolution_and_precision() -> None:
    waiting = [
        candidate("first", age=9),
        candidate("other base", pack_key=OTHER),
        candidate("other size", pack_key=PackKey(KEY.base_sha256, 768, Precision.AUTO)),
        candidate("other precision", pack_key=PackKey(KEY.base_sha256, 512, Precision.FLOAT32)),
        candidate("second"),
    ]
    assert chosen(waiting) == ["first", "second"]


def test_a_running_pack_takes_only_what_fits() -> None:
    assert chosen([candidate("a", pack_key=OTHER), candidate("b")], joining=KEY) == ["b"]


def test_a_running_pack_makes_way_for_one_that_has_waited_too_long() -> None:
    waiting = [candidate("starving", pack_key=OTHER, age=121), candidate("b")]
    assert chosen(waiting, joining=KEY) == []
    patient = [candidate("waiting", pack_key=OTHER, age=119), candidate("b")]
    assert chosen(patient, joining=KEY) == ["b"]


def test_a_job_that_was_in_packs_that_died_trains_alone() -> None:
    suspect = candidate("suspect", failures=2, age=50)
    assert chosen([suspect, candidate("b")]) == ["suspect"]
    assert chosen([suspect, candidate("b")], joining=KEY) == ["b"]
    assert chosen([candidate("b", age=60), suspect]) == ["b"]


def test_one_death_does_not_make_a_suspect() -> None:
    assert chosen([candidate("a", failures=1, age=50), candidate("b")]) == ["a", "b"]


def test_an_idle_worker_may_ask_for_one_base() -> None:
    waiting = [candidate("a", pack_key=OTHER, age=50), candidate("b")]
    assert chosen(waiting, base_sha256=KEY.base_sha256) == ["b"]


def test_nothing_waits() -> None:
    assert chosen([]) == []
    assert chosen([], joining=KEY) == []


def test_of_brands_with_as_many_jobs_the_one_that_got_no_place_for_longer_comes_first() -> None:
    waiting = [candidate("a", "acme", age=100), candidate("y", "yotta"), candidate("z", "zeta", age=50)]
    served = {"acme": NOW, "zeta": NOW - timedelta(seconds=9)}
    queue = Queue(waiting=waiting, running={}, served=served, now=NOW, rules=RULES)
    assert [one.name for one in choose(queue, Wish(max_jobs=8))] == ["y", "z", "a"]
    assert [one.name for one in queue.in_order()] == ["y", "z", "a"]


def test_a_job_that_has_aged_comes_before_the_priorities_of_its_brand() -> None:
    hours = RULES.aging.total_seconds()
    waiting = [candidate("old", age=int(hours)), candidate("urgent", priority=100, age=int(hours) - 1)]
    assert chosen(waiting) == ["old", "urgent"]
