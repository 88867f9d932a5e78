"""Checkpoints in one file, in the layout of Stable Diffusion 1.x, with nothing beside them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from brandloom.cli.base_model_kind import kind_of
from lorakit.errors import BaseModelError
from lorakit.families import sd15
from lorakit.families.clip_tokenizer import load_tokenizer
from lorakit.families.sd15_configs import checkpoint_configs
from lorakit.safetensors_header import SafetensorsHeader, TensorEntry, read_header
from tests.fixtures.ldm_checkpoint import ldm_tensors, write_ldm_checkpoint
from tests.fixtures.tiny_sd import classic_pipeline

PARTS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def stock() -> StableDiffusionPipeline:
    return classic_pipeline()


@pytest.fixture(scope="module")
def checkpoint(stock: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ldm_checkpoint(stock, tmp_path_factory.mktemp("single") / "classic.safetensors")


@pytest.fixture(scope="module")
def tokenizer(stock: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    stock.tokenizer.save_pretrained(folder)
    return folder


def test_the_file_alone_is_the_model(
    stock: StableDiffusionPipeline, checkpoint: Path, tokenizer: Path
) -> None:
    base = sd15.load_base(checkpoint, tokenizer=tokenizer)
    for part in PARTS:
        ours, theirs = getattr(base, part), getattr(stock, part)
        assert all(
            torch.equal(ours.state_dict()[key], value) for key, value in theirs.state_dict().items()
        ), part
    assert (base.resolution, base.latent_channels, base.prediction_type) == (128, 4, "epsilon")
    told = kind_of(checkpoint)
    assert (told.family.lower(), told.resolution) == (base.family, base.resolution)
    with torch.inference_mode():
        texts_BND = sd15.encode_prompt(base, ["a red fox"])
        ids = stock.tokenizer(["a red fox"], padding="max_length", return_tensors="pt").input_ids
        assert torch.equal(texts_BND, stock.text_encoder(ids).last_hidden_state)
        z_BCHW = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        step = torch.tensor([300])
        theirs = stock.unet(z_BCHW, step, texts_BND).sample
        assert torch.equal(base.unet(z_BCHW, step, texts_BND).sample, theirs)
        assert torch.equal(base.vae.decode(z_BCHW).sample, stock.vae.decode(z_BCHW).sample)


def test_metadata_may_tell_resolution_and_prediction(
    stock: StableDiffusionPipeline, tokenizer: Path, tmp_path: Path
) -> None:
    told = {"modelspec.resolution": "96x96", "modelspec.prediction_type": "v"}
    file = write_ldm_checkpoint(stock, tmp_path / "told.safetensors", metadata=told)
    base = sd15.load_base(file, tokenizer=tokenizer)
    assert (base.resolution, base.prediction_type) == (96, "v_prediction")
    assert kind_of(file).resolution == 96


def header_of(shapes: dict[str, tuple[int, ...]]) -> SafetensorsHeader:
    entries = {name: TensorEntry(name, "F16", shape, 0, 0) for name, shape in shapes.items()}
    return SafetensorsHeader(entries, {}, 0, 0)


def test_stable_diffusion_1_5_itself_is_recognised() -> None:
    """Its parameters are counted in full size, without memory for them: the published numbers."""
    with torch.device("meta"):
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                latent_channels=4,
                sample_size=512,
            ),
            unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12
                )
            ),
            tokenizer=classic_pipeline().tokenizer,
            scheduler=classic_pipeline().scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    shapes = {name: tuple(value.shape) for name, value in ldm_tensors(pipeline).items()}
    configs = checkpoint_configs(header_of(shapes))
    with torch.device("meta"):
        made = (
            UNet2DConditionModel.from_config(configs["unet/config.json"]),
            AutoencoderKL.from_config(configs["vae/config.json"]),
            CLIPTextModel(CLIPTextConfig(**configs["text_encoder/config.json"])),
        )
    counts = [sum(value.numel() for value in model.parameters()) for model in made]
    assert counts == [859_520_964, 83_653_863, 123_060_480]
    assert configs["unet/config.json"]["sample_size"] == 64
    text = configs["text_encoder/config.json"]
    assert (text["bos_token_id"], text["eos_token_id"]) == (49406, 49407)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conditioner.embedders.0.x", "it is an SDXL checkpoint"),
        ("cond_stage_model.model.ln_final.weight", "it is a Stable Diffusion 2 checkpoint"),
        ("double_blocks.0.img_attn.proj.weight", "it is a Flux checkpoint"),
        ("lora_unet_x.lora_up.weight", "it is a LoRA"),
        ("some.thing", "it holds no autoencoder of Stable Diffusion 1.x: there is no first_stage_model"),
    ],
)
def test_other_files_are_told_apart(name: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(1)}, file)
    with pytest.raises(BaseModelError, match=message):
        sd15.load_base(file)


@pytest.mark.parametrize("prefix", ["first_stage_model.", "cond_stage_model.", "model.diffusion_model.out"])
def test_a_file_that_lacks_a_part_is_refused(
    prefix: str, checkpoint: Path, tokenizer: Path, tmp_path: Path
) -> None:
    kept = {name: value for name, value in load_file(checkpoint).items() if not name.startswith(prefix)}
    file = tmp_path / "part.safetensors"
    save_file(kept, file)
    with pytest.raises(BaseModelError, match=r"part\.safetensors: it holds no"):
        sd15.load_base(file, tokenizer=tokenizer)


@pytest.mark.parametrize(
    "name",
    [
        "model.diffusion_model.middle_block.0.in_layers.2.weight",
        "first_stage_model.decoder.conv_in.weight",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight",
    ],
)
def test_a_file_that_lacks_tensors_is_refused(
    name: str, checkpoint: Path, tokenizer: Path, tmp_path: Path
) -> None:
    tensors = load_file(checkpoint)
    del tensors[name]
    file = tmp_path / "holes.safetensors"
    save_file(tensors, file)
    with pytest.raises(BaseModelError, match=r"holes\.safetensors lacks tensors that its"):
        sd15.load_base(file, tokenizer=tokenizer)


def test_widths_that_tell_too_little_are_refused(checkpoint: Path) -> None:
    shapes = {name: entry.shape for name, entry in read_header(checkpoint).tensors.items()}
    narrow = {"first_stage_model.encoder.down.1.block.0.conv1.weight": (40, 32, 3, 3)}
    with pytest.raises(BaseModelError, match="not all multiples of 32"):
        checkpoint_configs(header_of(shapes | narrow))


def test_without_a_tokenizer_the_file_says_what_is_missing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(BaseModelError, match=r"classic\.safetensors: .*BRANDLOOM_CLIP_TOKENIZER"):
        sd15.load_base(checkpoint)
    with pytest.raises(BaseModelError, match=r"holds no CLIP tokenizer: it needs tokenizer\.json"):
        sd15.load_base(checkpoint, tokenizer=tmp_path)


def test_a_tokenizer_of_another_vocabulary_is_refused(tokenizer: Path) -> None:
    with pytest.raises(BaseModelError, match="knows 94 tokens, the text encoder 49408"):
        load_tokenizer(tokenizer, length=77, words=49408)


def test_the_vocabulary_follows_from_the_list_of_merges(tmp_path: Path) -> None:
    """The real list is the real tokenizer; here is one of its length whose first merges spell a word."""
    letters = [
        chr(code) for code in (*range(33, 127), *range(174, 256), *range(256, 324)) if chr(code) not in "fo"
    ]
    merges = ["f o", "fo x</w>", *(f"{first} {second}" for first in letters for second in letters)]
    file = tmp_path / "merges.txt.gz"
    text = "\n".join(["#version", *merges[:48894], "left out"])
    file.write_bytes(gzip.compress(text.encode()))
    made = load_tokenizer(file, length=77, words=49408)
    first_letter = made("a").input_ids
    # '!' is byte 33 and the first visible one, so 'a' (97) is number 64, and at the end of a word 256 + 64.
    assert first_letter == [49406, 320, 49407]
    assert made("fox a").input_ids == [49406, 513, 320, 49407]
    assert made(["fox"], padding="max_length").input_ids[0][-1] == 49407
    plain = tmp_path / "folder"
    plain.mkdir()
    (plain / "vocab.json").write_text(json.dumps(made.get_vocab()))
    (plain / "merges.txt").write_text(text.removesuffix("\nleft out"))
    assert load_tokenizer(plain, length=77, words=49408)("fox a").input_ids == [49406, 513, 320, 49407]


@pytest.mark.parametrize(
    "content", [b"#version\na b\n", b"\x1f\x8bnot gzip", b"\xff" * 100, b"#\n" + b"\xe4\xb8\x80 x\n" * 48_894]
)
def test_a_broken_list_of_merges_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / ("merges.gz" if content.startswith(b"\x1f") else "merges.txt")
    file.write_bytes(content)
    with pytest.raises(BaseModelError, match="merges"):
        load_tokenizer(file, length=77, words=49408)
