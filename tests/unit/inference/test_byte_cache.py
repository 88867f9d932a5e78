"""The memory cache with its budget."""

from __future__ import annotations

from services.inference.engine.byte_cache import ByteCache


def test_what_was_used_longest_ago_goes_first() -> None:
    cache: ByteCache[str, str] = ByteCache("memory", 10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.get("a") == "A"
    cache.put("c", "C", 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")
    usage = cache.usage()
    assert (usage.used_bytes, usage.hits, usage.misses) == (8, 3, 1)
    assert usage.level == "memory"


def test_a_value_beyond_the_budget_is_not_kept_and_drives_nothing_out() -> None:
    cache: ByteCache[str, str] = ByteCache("memory", 10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 11)
    assert (cache.get("a"), cache.get("b"), cache.usage().used_bytes) == ("A", None, 4)


def test_a_new_value_takes_the_place_of_the_old() -> None:
    cache: ByteCache[str, str] = ByteCache("memory", 10)
    cache.put("a", "A", 4)
    cache.put("a", "AA", 8)
    assert (cache.get("a"), cache.usage().used_bytes) == ("AA", 8)


def test_pinned_values_make_no_room_until_nobody_pins_them() -> None:
    cache: ByteCache[str, str] = ByteCache("memory", 10)
    cache.pin("one", ["a"])  # before it is there: nothing can come between
    cache.pin("two", ["a"])
    cache.put("a", "A", 4)
    for key in "bcd":
        cache.put(key, key.upper(), 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.get("d")) == ("A", None, None, "D")
    assert cache.pinned_part == 0.4
    cache.unpin("one")
    cache.put("e", "E", 4)
    assert cache.get("a") == "A"
    cache.unpin("two")
    cache.unpin("nobody")
    for key in "fg":
        cache.put(key, key.upper(), 4)
    assert (cache.get("a"), cache.pinned_part, cache.usage().used_bytes) == (None, 0.0, 8)


def test_what_finds_only_pinned_values_in_its_way_is_not_kept() -> None:
    cache: ByteCache[str, str] = ByteCache("memory", 10)
    cache.pin("one", ["a"])
    cache.put("a", "A", 8)
    cache.put("b", "B", 4)
    assert (cache.get("a"), cache.get("b"), cache.usage().used_bytes) == ("A", None, 8)


def test_what_is_held_is_told_without_being_used() -> None:
    cache: ByteCache[str, str] = ByteCache("memory", 10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 11)
    assert cache.holds(["a"])
    assert not cache.holds(["a", "b"])
    assert (cache.usage().hits, cache.usage().misses) == (0, 0)
