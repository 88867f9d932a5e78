"""The probe: however a file is cut into chunks, whatever its bytes are, it tells the same or refuses."""

from __future__ import annotations

import asyncio
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.errors import InvalidArgument
from services.registry.domain import FileFacts, LoraFormat, ModelFamily
from services.registry.inspection import MAX_METADATA_BYTES, LoraHeaderReader
from tests.grpc.registry.lora_files import diffusers_file, halves, kohya_file, safetensors

FILE = kohya_file(rank=4, alpha=1.5, metadata={"modelspec.title": "Hero"})


def probe(data: bytes, *, chunk: int = 1 << 20, size: int | None = None) -> FileFacts:
    async def run() -> FileFacts:
        looking = LoraHeaderReader().probe(field="file", file_name="hero.safetensors", size_bytes=size)
        for start in range(0, len(data), chunk):
            await looking.feed(data[start : start + chunk])
        return await looking.finish()

    return asyncio.run(run())


def refusal(data: bytes, **options: int) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as refused:
        probe(data, **options)
    return refused.value


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 700), st.booleans())
def test_chunks_do_not_matter(chunk: int, announced: bool) -> None:
    facts = probe(FILE, chunk=chunk, size=len(FILE) if announced else None)
    assert (facts.format, facts.family, facts.rank) == (LoraFormat.KOHYA, ModelFamily.SD15, 4)
    assert {module.alpha for module in facts.modules} == {1.5}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read_never_worse(data: st.DataObject) -> None:
    damaged = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(FILE) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(FILE)))
    try:
        facts = probe(bytes(damaged[: cut or None]), chunk=data.draw(st.sampled_from([7, 4096])))
    except InvalidArgument as error:
        assert error.violations[0].field == "file"
        error.violations[0].description.encode()
    else:
        assert facts.family in ModelFamily


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F16", "F32", "Q4"]), "shape": JSON, "data_offsets": JSON}
)
NAMES = st.text(max_size=12) | st.sampled_from(
    ["__metadata__", "lora_unet_a.alpha", "lora_unet_a.lora_down.weight", "unet.a.lora_A.weight"]
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAMES, JSON | ENTRY, max_size=5), st.binary(max_size=30))
def test_hostile_headers_are_refused(header: dict[str, object], rest: bytes) -> None:
    text = json.dumps(header).encode()
    error = refusal(struct.pack("<Q", len(text)) + text + rest)
    assert error.reason == "LORA_FILE_INVALID"


def test_alphas_of_diffusers_come_from_its_config() -> None:
    assert [module.alpha for module in probe(diffusers_file(rank=8, lora_alpha=16.0)).modules] == [16.0]
    assert [module.alpha for module in probe(diffusers_file(rank=8, lora_alpha=None)).modules] == [8.0]


@pytest.mark.parametrize(
    ("dtype", "content", "alpha"),
    [
        ("F16", struct.pack("<e", 2.5), 2.5),
        ("BF16", struct.pack("<f", 2.5)[2:], 2.5),
        ("F64", struct.pack("<d", 2.5), 2.5),
        ("I64", struct.pack("<q", 2), 2.0),
        ("F32", struct.pack("<f", 0.0), 4.0),
    ],
)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_alphas_of_every_kind_are_read(
    dtype: str, content: bytes, alpha: float, shape: tuple[int, ...]
) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{name}.lora_down.weight": halves(4, 32),
        f"{name}.alpha": (dtype, shape, content),
        f"{name}.lora_up.weight": halves(32, 4),
    }
    assert [module.alpha for module in probe(safetensors(tensors), chunk=3).modules] == [alpha]


def test_an_alpha_that_is_a_table_is_refused_unread() -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {f"{name}.alpha": halves(1000), f"{name}.lora_down.weight": halves(4, 32)}
    assert "not one number" in str(refusal(safetensors({**tensors, f"{name}.lora_up.weight": halves(32, 4)})))


def test_a_size_that_lies_is_found_before_the_weights_come() -> None:
    error = refusal(FILE[: len(FILE) // 2], size=len(FILE) + 4)
    assert "belong to none" in str(error)


def test_metadata_that_no_message_could_carry_is_left_out() -> None:
    metadata = {"ss_tag_frequency": "x" * (MAX_METADATA_BYTES + 1), "modelspec.license": "MIT", "odd": "a\0b"}
    facts = probe(kohya_file(metadata=metadata))
    assert dict(facts.metadata) == {"modelspec.license": "MIT", "odd": "a\ufffdb"}


def test_halves_of_surrogate_pairs_do_no_harm() -> None:
    facts = probe(kohya_file(metadata={"modelspec.trigger_phrase": "zog \ud800"}))
    facts.trigger_words[0].encode()


def test_trigger_words_are_bounded() -> None:
    phrase = ", ".join(f"word{index}" + "x" * 200 for index in range(100))
    words = probe(kohya_file(metadata={"modelspec.trigger_phrase": phrase})).trigger_words
    assert (len(words), max(map(len, words))) == (32, 100)


def test_names_without_end_are_refused() -> None:
    tensors = {}
    for index in range(1200):
        name = f"lora_unet_down_blocks_{index}_" + "x" * 900
        tensors |= {f"{name}.lora_down.weight": halves(1, 2), f"{name}.lora_up.weight": halves(2, 1)}
    assert "too many" in str(refusal(safetensors(tensors)))
