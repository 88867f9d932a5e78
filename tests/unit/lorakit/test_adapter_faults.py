"""LoRA files that cannot be right are refused, with what is wrong with them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lorakit.adapter import load_adapter
from lorakit.errors import LoraFormatError, LoraMismatchError
from lorakit.safetensors_writer import RawTensor, header_bytes, in_file_order


def test_modules_of_another_base_are_named(base_modules: Any, tmp_path: Path) -> None:
    good = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    bad = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    path = tmp_path / "x.safetensors"

    def write(*names: str, width: int = 64) -> None:
        tensors = {f"{name}.lora_down.weight": torch.ones(2, width) for name in names}
        save_file(tensors | {f"{name}.lora_up.weight": torch.ones(64, 2) for name in names}, path)

    write(good, bad)
    with pytest.raises(LoraMismatchError, match=r"1 of 2 modules are not in the base model.*sdxl") as caught:
        load_adapter(path, base_modules=base_modules)
    assert caught.value.keys == (bad,)
    write(good, width=320)
    with pytest.raises(LoraMismatchError, match="320 -> 64 features, the base model has 64 -> 64") as caught:
        load_adapter(path, base_modules=base_modules)
    assert caught.value.keys == (good,)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            {"base_model.model.q.lora_A.weight": (2, 4), "base_model.model.q.lora_B.weight": (4, 2)},
            "text LoRA",
        ),
        (
            {
                "lora_unet_x.lora_down.weight": (2, 4),
                "lora_unet_x.lora_up.weight": (4, 2),
                "lora_unet_x.dora_scale": (4,),
            },
            "dora.*lora_unet_x",
        ),
        ({"lora_unet_x.lokr_w1": (2, 4), "lora_unet_x.lokr_w2": (2, 4)}, "lokr"),
    ],
)
def test_kinds_that_cannot_be_stacked_are_refused(
    tensors: dict[str, tuple[int, ...]], words: str, base_modules: Any, tmp_path: Path
) -> None:
    save_file({key: torch.ones(shape) for key, shape in tensors.items()}, tmp_path / "x.safetensors")
    with pytest.raises(LoraFormatError, match=words):
        load_adapter(tmp_path / "x.safetensors", base_modules=base_modules)


def test_numbers_that_are_not_finite_are_refused(base_modules: Any, tmp_path: Path) -> None:
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    down = torch.ones(2, 64)
    down[0, 3] = float("nan")
    save_file({f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": torch.ones(64, 2)}, tmp_path / "x")
    with pytest.raises(LoraFormatError, match=r"lora_down.*not finite"):
        load_adapter(tmp_path / "x", base_modules=base_modules)


def test_nothing_is_unpickled(base_modules: Any, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    for name, content in (("a", pickle.dumps(Bomb())), ("b", b"")):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        if name == "b":
            torch.save({"x": torch.ones(2)}, path)
        with pytest.raises(LoraFormatError, match="not a safetensors file"):
            load_adapter(path, base_modules=base_modules)
    assert not marker.exists()


def test_ambiguous_names_are_refused() -> None:
    from lorakit.families.naming import kohya_lookup

    with pytest.raises(LoraFormatError, match="share a name"):
        kohya_lookup({"unet": ["a.b_c", "a_b.c"]})
    ordered = in_file_order([RawTensor("z", "F32", (), bytes(4)), RawTensor("a", "F16", (), bytes(2))])
    assert [tensor.name for tensor in ordered] == ["z", "a"]
    assert len(header_bytes(ordered, {})) % 8 == 0
