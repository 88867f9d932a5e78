"""Batches of one bucket each, dealt out by a job's own generator; captions with their tags in a new order."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from services.trainer.engine.data_order import DataOrder
from services.trainer.engine.diffusion.captions import can_change, shuffled

GROUPS = ["wide", "tall", "wide", "wide", "tall", "square", "wide", "wide"]


def order(*, whole: bool = False, seed: int = 1, groups: list[str] = GROUPS) -> DataOrder:
    return DataOrder(groups, 3, torch.Generator().manual_seed(seed), whole=whole)


def test_an_epoch_shows_every_item_once_in_batches_of_one_group() -> None:
    dealt = order()
    for epoch in range(1, 4):
        batches = [dealt.next_batch() for _ in range(4)]
        assert dealt.epoch == epoch
        assert sorted(index for batch in batches for index in batch) == list(range(8))
        assert all(len({GROUPS[index] for index in batch}) == 1 for batch in batches)
        assert sorted(map(len, batches)) == [1, 2, 2, 3]


def test_groups_take_turns() -> None:
    firsts = Counter(GROUPS[order(seed=seed).next_batch()[0]] for seed in range(60))
    assert min(firsts[group] for group in ("wide", "tall", "square")) >= 8


def test_whole_batches_are_filled_up_within_their_group() -> None:
    dealt = order(whole=True)
    batches = [dealt.next_batch() for _ in range(4)]
    assert all(len(batch) == 3 for batch in batches)
    assert all(len({GROUPS[index] for index in batch}) == 1 for batch in batches)
    assert {index for batch in batches for index in batch} == set(range(8))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_it_goes_on_where_it_was(whole: bool, after: int) -> None:
    generator = torch.Generator().manual_seed(3)
    straight = DataOrder(GROUPS, 3, generator, whole=whole)
    for _ in range(after):
        straight.next_batch()
    state, chance = straight.state(), generator.get_state()
    expected = [straight.next_batch() for _ in range(9)]
    generator = torch.Generator()
    generator.set_state(chance)
    resumed = DataOrder(GROUPS, 3, generator, whole=whole)
    resumed.restore(state)
    assert [resumed.next_batch() for _ in range(9)] == expected
    assert resumed.epoch == straight.epoch


def test_tags_are_shuffled_behind_those_that_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = {shuffled("hrx,  a dog, red , tall,", 1, generator) for _ in range(60)}
    assert len(seen) == 6
    assert all(caption.startswith("hrx, ") for caption in seen)
    assert all(sorted(caption.split(", ")) == ["a dog", "hrx", "red", "tall"] for caption in seen)


@pytest.mark.parametrize(
    ("caption", "keep"), [("a dog in a park", 0), ("a, b", 1), ("a, b", 5), ("", 0), (",,", 0)]
)
def test_captions_that_cannot_change_stay_as_they_are(caption: str, keep: int) -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert shuffled(caption, keep, generator) == caption
    assert not can_change(caption, keep)
    assert torch.equal(generator.get_state(), before)
