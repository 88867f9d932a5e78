"""A stack of LoRAs folds into one adapter that does the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorakit.adapter import Adapter, LoraWeights
from lorakit.errors import LoraMismatchError
from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.stack import combine, weigh

SHAPES = {"linear": ((5,), ()), "conv": ((5, 1, 1), (1, 1)), "locon": ((5, 3, 3), (1, 1))}


def make(seed: int, rank: int, alpha: float, *, digest: str | None = None, family: str = "sd15") -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    modules = {
        path: LoraWeights(
            torch.randn(rank, *down, generator=generator),
            torch.randn(7, rank, *up, generator=generator),
            alpha,
        )
        for path, (down, up) in SHAPES.items()
    }
    return Adapter({"unet": modules, "text_encoder": {"linear": modules["linear"]}}, family, digest=digest)


WEIGHTS = st.floats(-2, 2).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), WEIGHTS, WEIGHTS), min_size=1, max_size=5))
def test_equals_the_sum_of_deltas(entries: list[tuple[int, int, float, float]]) -> None:
    stack = [(make(seed, rank, 1.0 + rank / 2), te, unet) for seed, rank, te, unet in entries]
    folded = combine(stack)
    for component in ("unet", "text_encoder"):
        for path in SHAPES if component == "unet" else ("linear",):
            expected = sum(
                adapter.components[component][path].delta() * (unet if component == "unet" else te)
                for adapter, te, unet in stack
            )
            weights = folded.components.get(component, {}).get(path)
            found = torch.zeros_like(expected) if weights is None else weights.delta()
            assert torch.allclose(found, expected, atol=1e-4)


def test_the_same_lora_twice_adds_its_weights() -> None:
    one, again = make(1, 4, 2.0, digest="d"), make(1, 4, 2.0, digest="d")
    folded = combine([(one, 0.5, 0.25), (again, 0.25, 0.25)])
    assert folded.components["unet"]["linear"].rank == 4
    once = combine([(one, 0.75, 0.5)])
    assert torch.equal(folded.components["unet"]["linear"].delta(), once.components["unet"]["linear"].delta())
    assert combine([(one, 1.0, 0.5), (one, 1.0, -0.5)]).components.keys() == {"text_encoder"}


def test_weight_zero_leaves_no_trace_even_of_nan() -> None:
    poison = make(1, 4, 2.0)
    for weights in poison.components["unet"].values():
        weights.up_OR.fill_(float("nan"))
    folded = combine([(poison, 0.0, 0.0), (make(2, 3, 3.0), 1.0, 1.0)])
    assert all(weights.rank == 3 and weights.delta().isfinite().all() for _, _, weights in folded.each())
    assert not combine([(poison, 0.0, 0.0)]).components


def test_order_dtype_and_empty() -> None:
    folded = combine([(make(1, 2, 1.0), 1.0, 1.0), (make(2, 3, 1.0), 1.0, -1.0)], dtype=torch.float16)
    weights = folded.components["unet"]["conv"]
    assert (weights.down_RD.shape, weights.up_OR.shape) == ((5, 5, 1, 1), (7, 5, 1, 1))
    assert (weights.down_RD.dtype, weights.alpha, folded.family) == (torch.float16, 5.0, "sd15")
    assert combine([]).components == {}


def test_misfits_are_refused() -> None:
    with pytest.raises(LoraMismatchError, match="sd15, sdxl"):
        combine([(make(1, 2, 1.0), 1, 1), (make(2, 2, 1.0, family="sdxl"), 1, 1)])
    wide = Adapter({"unet": {"linear": LoraWeights(torch.ones(2, 9), torch.ones(7, 2), 1.0)}}, "sd15")
    with pytest.raises(LoraMismatchError, match="different shapes for linear"):
        combine([(make(1, 2, 1.0), 1, 1), (wide, 1, 1)])
    with pytest.raises(ValueError, match="finite"):
        combine([(make(1, 2, 1.0), float("nan"), 1)])


def test_a_stack_of_one_is_its_own_tensors_with_the_weight_in_alpha() -> None:
    modules = {"to_q": LoraWeights(torch.randn(4, 8).half(), torch.randn(6, 4).half(), 2.0)}
    adapter = Adapter({UNET: modules, TEXT_ENCODER: modules}, "sd15")
    weighed, folded = weigh(adapter, 0.0, -0.7), combine([(adapter, 0.0, -0.7)])
    assert weighed.components.keys() == folded.components.keys() == {UNET}
    assert weighed.components[UNET]["to_q"].down_RD is modules["to_q"].down_RD
    assert torch.allclose(
        weighed.components[UNET]["to_q"].delta(), folded.components[UNET]["to_q"].delta(), atol=1e-6
    )
    with pytest.raises(ValueError, match="finite"):
        weigh(adapter, 0.0, float("nan"))
