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
