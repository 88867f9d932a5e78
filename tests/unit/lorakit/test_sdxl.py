"""Loading a base of the SDXL architecture, and its parts against the stock pipeline."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from lorakit.base_digest import base_digest
from lorakit.errors import BaseModelError
from lorakit.families import sd15, sdxl
from lorakit.families.diffusion_base import EncodedTexts, Framing, decode_latents, encode_pictures
from lorakit.families.loading import load_diffusion_base
from lorakit.families.pipeline_index import directory_family
from lorakit.samplers import Sampler
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sdxl_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def base(directory: Path) -> sdxl.BaseModel:
    return sdxl.load_base(directory)


@pytest.fixture(scope="module")
def stock(directory: Path) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(directory, add_watermarker=False)


def copy_of(directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directory, tmp_path / "copy"))


def test_facts_of_the_base(base: sdxl.BaseModel, directory: Path) -> None:
    assert (base.family, base.prediction_type, base.latent_channels) == ("sdxl", "epsilon", 4)
    assert (base.vae_scale_factor, base.scaling_factor, base.resolution) == (2, 0.13025, 16)
    assert tuple(base.components) == ("unet", "text_encoder", "text_encoder_2")
    assert base.sha256 == base_digest(directory)
    assert base.zeros_for_no_prompt
    assert base.sampler_settings(Sampler.DPMPP_2M).steps_offset == 1
    assert not any(
        parameter.requires_grad for model in base.components.values() for parameter in model.parameters()
    )
    assert not any(model.training for model in base.components.values())


def test_prompts_are_encoded_as_by_the_stock_pipeline(
    base: sdxl.BaseModel, stock: StableDiffusionXLPipeline
) -> None:
    prompts = ["a red fox", "", "x " * 200]
    for clip_skip in (0, 1):
        context, _, pooled, _ = stock.encode_prompt(prompts, None, "cpu", 1, False, clip_skip=clip_skip)
        found = base.encode_texts(base.text_ids(prompts), clip_skip=clip_skip)
        assert torch.equal(found.context_BND, context)
        assert torch.equal(found.pooled_BP, pooled)
    first, second = base.text_ids(prompts)[1]
    assert not torch.equal(first, second)
    for impossible in (-1, 2):
        with pytest.raises(ValueError, match="clip_skip must be from 0 to 1"):
            base.encode_texts(base.text_ids(["a"]), clip_skip=impossible)


def test_unet_is_asked_as_by_the_stock_pipeline(
    base: sdxl.BaseModel, stock: StableDiffusionXLPipeline
) -> None:
    generator = torch.Generator().manual_seed(0)
    z_BCHW, timesteps_B = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([10, 900])
    texts = base.encode_texts(base.text_ids(["a red fox", "a blue hat"]))
    framings = [Framing(40, 30, 2, 1), Framing(16, 16)]
    time_ids_B6 = torch.stack([framing.time_ids(16, 16) for framing in framings])
    assert time_ids_B6.tolist() == [[40, 30, 2, 1, 16, 16], [16, 16, 0, 0, 16, 16]]
    for row, framing in enumerate(framings):
        ids = stock._get_add_time_ids(
            (framing.original_height, framing.original_width),
            (framing.top, framing.left),
            (16, 16),
            torch.float32,
            base.text_encoder_2.config.projection_dim,
        )
        assert torch.equal(ids[0], time_ids_B6[row])
    with torch.no_grad():
        found = base.predict(z_BCHW, timesteps_B, texts, time_ids_B6)
        added = {"text_embeds": texts.pooled_BP, "time_ids": time_ids_B6}
        expected = stock.unet(z_BCHW, timesteps_B, texts.context_BND, added_cond_kwargs=added).sample
        same = base.predict(z_BCHW, timesteps_B, texts, time_ids_B6.flip(0))
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, same, atol=1e-5)


def test_pictures_pass_the_autoencoder_in_float32(directory: Path, stock: StableDiffusionXLPipeline) -> None:
    half = sdxl.load_base(directory, dtype=torch.bfloat16)
    assert {model.dtype for model in half.components.values()} == {torch.bfloat16}
    assert half.vae.dtype == torch.float32
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        mean, _ = encode_pictures(half, pictures)
        assert torch.allclose(mean, stock.vae.encode(pictures).latent_dist.mean * 0.13025)
        expected = stock.vae.decode(mean / 0.13025, return_dict=False)[0].clamp(-1, 1)
        assert torch.allclose(decode_latents(half, mean), expected)


def test_encoded_texts_are_split_and_joined() -> None:
    whole = EncodedTexts(torch.randn(3, 4, 5), torch.randn(3, 2))
    parts = whole.split([1, 2])
    assert [len(part) for part in parts] == [1, 2]
    again = EncodedTexts.join(parts)
    assert torch.equal(again.context_BND, whole.context_BND)
    assert torch.equal(again.pooled_BP, whole.pooled_BP)
    assert not whole.zeros().pooled_BP.any()
    plain = EncodedTexts.join(EncodedTexts(torch.randn(2, 4, 5)).split([1, 1]))
    assert (len(plain), plain.pooled_BP, plain.zeros().to("cpu").pooled_BP) == (2, None, None)


def test_the_family_is_that_of_the_index(directory: Path, tmp_path: Path) -> None:
    other = save_tiny_pipeline(tmp_path / "sd15")
    assert (directory_family(directory), directory_family(other)) == ("sdxl", "sd15")
    assert isinstance(load_diffusion_base(other), sd15.BaseModel)
    assert isinstance(load_diffusion_base(directory), sdxl.BaseModel)
    with pytest.raises(BaseModelError, match="'StableDiffusionXLPipeline', not a StableDiffusionPipeline"):
        sd15.load_base(directory)
    with pytest.raises(BaseModelError, match="'StableDiffusionPipeline', not a StableDiffusionXLPipeline"):
        sdxl.load_base(other)
    (other / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(BaseModelError, match="'FluxPipeline'; known are StableDiffusionPipeline, Stable"):
        load_diffusion_base(other)
    with pytest.raises(BaseModelError, match="neither a checkpoint file nor a pipeline directory"):
        load_diffusion_base(tmp_path / "none")


def test_a_single_file_is_refused(directory: Path) -> None:
    with pytest.raises(BaseModelError, match="from a pipeline directory, not from one file"):
        sdxl.load_base(directory / "unet" / "diffusion_pytorch_model.safetensors")


def edited(file: str, **changes: object) -> Callable[[Path], object]:
    def edit(copy: Path) -> object:
        content = json.loads((copy / file).read_text())
        return (copy / file).write_text(json.dumps(content | changes))

    return edit


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda copy: shutil.rmtree(copy / "text_encoder_2"), "has no text_encoder_2"),
        (lambda copy: shutil.rmtree(copy / "tokenizer_2"), "has no tokenizer_2"),
        (lambda copy: shutil.rmtree(copy / "unet"), "has no unet"),
        (edited("model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline"), "Img2ImgPipeline"),
        (edited("vae/config.json", shift_factor=0.1), "shift_factor is not supported"),
        (edited("vae/config.json", latents_mean=[0.0] * 4), "latents_mean is not supported"),
        (edited("scheduler/scheduler_config.json", prediction_type="sample"), "prediction_type"),
        (edited("tokenizer/tokenizer_config.json", model_max_length=50), "lengths 50 and 77 differ"),
        (lambda copy: (copy / "text_encoder_2" / "model.safetensors").write_bytes(b"x"), "text_encoder_2 of"),
    ],
)
def test_broken_directories_say_what_is_wrong(
    directory: Path, tmp_path: Path, harm: Callable[[Path], object], message: str
) -> None:
    copy = copy_of(directory, tmp_path)
    harm(copy)
    with pytest.raises(BaseModelError, match=message):
        sdxl.load_base(copy)


def test_parts_that_do_not_fit_are_refused(directory: Path, tmp_path: Path) -> None:
    other = save_tiny_sdxl_pipeline(tmp_path / "other", widths=(32, 24))
    copy = copy_of(directory, tmp_path)
    shutil.rmtree(copy / "text_encoder_2")
    shutil.copytree(other / "text_encoder_2", copy / "text_encoder_2")
    with pytest.raises(BaseModelError, match="attends to 72 features, the text encoders give 56"):
        sdxl.load_base(copy)
    thin = save_tiny_sdxl_pipeline(tmp_path / "thin", layers=1)
    with pytest.raises(BaseModelError, match="has 1 layers in a block, sdxl's have 2"):
        sdxl.load_base(thin)
    plain = save_tiny_pipeline(tmp_path / "plain", width=72)
    shutil.rmtree(thin / "unet")
    shutil.copytree(plain / "unet", thin / "unet")
    with pytest.raises(BaseModelError, match="takes no pooled text and sizes"):
        sdxl.load_base(thin)


def test_weights_that_are_missing_are_not_made_up(directory: Path, tmp_path: Path) -> None:
    copy = copy_of(directory, tmp_path)
    shutil.rmtree(copy / "text_encoder_2")
    shutil.copytree(copy / "text_encoder", copy / "text_encoder_2")
    with pytest.raises(
        BaseModelError, match=r"text_encoder_2 of .* lacks \d+ weights of a CLIPTextModelWithPro"
    ):
        sdxl.load_base(copy)
    shutil.rmtree(copy)
    copy_of(directory, tmp_path)
    for component, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = copy / component / f"{name}.safetensors"
        weights = load_file(file)
        gone = next(iter(weights))
        save_file({key: value for key, value in weights.items() if key != gone}, file, {"format": "pt"})
        with pytest.raises(BaseModelError, match=rf"the {component} of .* lacks 1 weights.*{gone}"):
            sdxl.load_base(copy)
        save_file(weights, file, {"format": "pt"})


def test_nothing_is_unpickled(directory: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    copy = copy_of(directory, tmp_path)
    (copy / "text_encoder_2" / "model.safetensors").unlink()
    (copy / "text_encoder_2" / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BaseModelError, match="text_encoder_2"):
        sdxl.load_base(copy)
    assert not (tmp_path / "sprung").exists()
