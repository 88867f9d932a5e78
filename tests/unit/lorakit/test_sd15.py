"""Loading a base of the SD 1.5 architecture, and its parts against the stock pipeline."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from lorakit.base_digest import base_digest
from lorakit.errors import BaseModelError
from lorakit.families import sd15
from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.module_shape import ModuleShape
from lorakit.samplers import Sampler
from tests.fixtures.ldm_checkpoint import write_ldm_checkpoint
from tests.fixtures.tiny_sd import save_tiny_pipeline

ALL = list(sd15.Target)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def base(directory: Path) -> sd15.BaseModel:
    return sd15.load_base(directory)


@pytest.fixture(scope="module")
def stock(directory: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(directory, safety_checker=None)


def copy_of(directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directory, tmp_path / "copy"))


def test_facts_of_the_base(base: sd15.BaseModel, directory: Path) -> None:
    assert (base.family, base.prediction_type, base.latent_channels) == ("sd15", "epsilon", 4)
    assert (base.vae_scale_factor, base.scaling_factor, base.resolution) == (2, 0.18215, 16)
    assert base.noise_schedule.timesteps == 1000
    assert base.sha256 == base_digest(directory)
    assert not any(parameter.requires_grad for parameter in base.unet.parameters())
    assert not base.unet.training


def test_prompts_are_encoded_as_by_the_stock_pipeline(
    base: sd15.BaseModel, stock: StableDiffusionPipeline
) -> None:
    prompts = ["a red fox", "", "x " * 200]
    expected, _ = stock.encode_prompt(prompts, "cpu", 1, False)
    assert torch.equal(sd15.encode_prompt(base, prompts), expected)


def test_clip_skip_leaves_out_the_last_layers(base: sd15.BaseModel, directory: Path, tmp_path: Path) -> None:
    shorter = copy_of(directory, tmp_path)
    config = shorter / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 1}))
    weights = shorter / "text_encoder" / "model.safetensors"
    kept = {key: value for key, value in load_file(weights).items() if ".layers.1." not in key}
    save_file(kept, weights, metadata={"format": "pt"})
    expected = sd15.encode_prompt(sd15.load_base(shorter), ["a red fox"])
    assert torch.allclose(sd15.encode_prompt(base, ["a red fox"], clip_skip=1), expected, atol=1e-6)
    for impossible in (-1, 2):
        with pytest.raises(ValueError, match="clip_skip must be from 0 to 1"):
            sd15.encode_prompt(base, ["a"], clip_skip=impossible)


def test_pictures_pass_the_autoencoder_as_in_the_stock_pipeline(
    base: sd15.BaseModel, stock: StableDiffusionPipeline
) -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
    with torch.inference_mode():
        mean, std = sd15.encode_pictures(base, pictures)
        posterior = stock.vae.encode(pictures).latent_dist
        assert torch.allclose(mean, posterior.mean * 0.18215)
        assert torch.allclose(std, posterior.std * 0.18215)
        expected = stock.vae.decode(mean / 0.18215, return_dict=False)[0].clamp(-1, 1)
        assert torch.allclose(sd15.decode_latents(base, mean), expected)


def test_targets_are_the_layers_that_kohya_trains(base: sd15.BaseModel) -> None:
    unet = sd15.target_modules(UNET, base.unet, ALL)
    # Three transformer blocks of ten layers and the stock pair of projections around each, in two places of
    # the UNet and its middle.
    blocks = sum(path.endswith(".proj_in") for path in unet)
    assert len(unet) == blocks * 12
    assert unet["mid_block.attentions.0.proj_in"] == ModuleShape(64, 64, (1, 1))
    assert unet["mid_block.attentions.0.transformer_blocks.0.attn2.to_k"] == ModuleShape(32, 64)
    attention = sd15.target_modules(UNET, base.unet, [sd15.Target.ATTENTION])
    assert len(attention) == blocks * 8
    assert len(sd15.target_modules(TEXT_ENCODER, base.text_encoder, ALL)) == 12
    assert len(sd15.target_modules(TEXT_ENCODER, base.text_encoder, [sd15.Target.ATTENTION])) == 8
    assert not sd15.target_modules(TEXT_ENCODER, base.text_encoder, [sd15.Target.PROJECTIONS])


def test_linear_projections_are_targets_too(tmp_path: Path) -> None:
    base = sd15.load_base(
        save_tiny_pipeline(tmp_path, linear_projection=True, prediction_type="v_prediction")
    )
    unet = sd15.target_modules(UNET, base.unet, [sd15.Target.PROJECTIONS])
    assert unet["mid_block.attentions.0.proj_in"] == ModuleShape(64, 64)
    assert base.prediction_type == "v_prediction"


def test_half_precision_files_are_widened(base: sd15.BaseModel, directory: Path, tmp_path: Path) -> None:
    copy = copy_of(directory, tmp_path)
    for name in ("unet", "vae"):
        file = copy / name / "diffusion_pytorch_model.safetensors"
        save_file(
            {key: value.half() for key, value in load_file(file).items()}, file, metadata={"format": "pt"}
        )
    half = sd15.load_base(copy)
    assert half.unet.dtype == half.vae.dtype == torch.float32
    assert half.sha256 != base.sha256


def test_digest_counts_weights_and_configurations_only(directory: Path, tmp_path: Path) -> None:
    copy = copy_of(directory, tmp_path)
    (copy / "README.md").write_text("a card")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "x.json").write_text("{}")
    # What a hub's repository has beside the files that are read, and a partial download has not.
    for unread in (
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "feature_extractor/preprocessor_config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "text_encoder/pytorch_model.bin",
        "vae/deeper/config.json",
    ):
        (copy / unread).parent.mkdir(exist_ok=True)
        (copy / unread).write_text("{}")
    assert base_digest(copy) == base_digest(directory)
    scheduler = copy / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text() + " ")
    assert base_digest(copy) != base_digest(directory)
    for read in ("unet/diffusion_pytorch_model-00001-of-00002.safetensors", "tokenizer/merges.txt"):
        before = base_digest(copy)
        (copy / read).write_text("x")
        assert base_digest(copy) != before


def test_nothing_is_unpickled(directory: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    copy = copy_of(directory, tmp_path)
    for component, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (copy / component / f"{name}.safetensors").unlink()
        (
            copy / component / f"{name.replace('model', 'pytorch_model') if name == 'model' else name}.bin"
        ).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(BaseModelError, match=component):
            sd15.load_base(copy)
        shutil.copytree(directory, copy, dirs_exist_ok=True)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BaseModelError, match="unet"):
        sd15.load_base(copy)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda copy: (copy / "model_index.json").unlink(),
            "neither a checkpoint file nor a pipeline directory",
        ),
        (lambda copy: (copy / "model_index.json").write_text("{"), "cannot be read"),
        (lambda copy: (copy / "model_index.json").write_text("[]"), "does not hold a JSON object"),
        (
            lambda copy: (copy / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'),
            "FluxPipeline",
        ),
        (lambda copy: shutil.rmtree(copy / "vae"), "has no vae"),
        (lambda copy: shutil.rmtree(copy / "tokenizer"), "has no tokenizer"),
        (
            lambda copy: (copy / "scheduler" / "scheduler_config.json").unlink(),
            "scheduler_config.json cannot be read",
        ),
        (lambda copy: (copy / "unet" / "config.json").write_text("no"), "the unet of"),
    ],
)
def test_broken_directories_say_what_is_wrong(
    directory: Path, tmp_path: Path, harm: object, message: str
) -> None:
    copy = copy_of(directory, tmp_path)
    harm(copy)  # type: ignore[operator]
    with pytest.raises(BaseModelError, match=message):
        sd15.load_base(copy)


def test_parts_that_do_not_fit_are_refused(directory: Path, tmp_path: Path) -> None:
    other = save_tiny_pipeline(tmp_path / "other", width=16)
    copy = copy_of(directory, tmp_path)
    shutil.rmtree(copy / "text_encoder")
    shutil.copytree(other / "text_encoder", copy / "text_encoder")
    with pytest.raises(BaseModelError, match="attends to 32 features, the text encoder gives 16"):
        sd15.load_base(copy)


def test_a_single_file_is_the_model_that_its_directory_is(
    base: sd15.BaseModel, stock: StableDiffusionPipeline, directory: Path, tmp_path: Path
) -> None:
    file = write_ldm_checkpoint(stock, tmp_path / "model.safetensors")
    single = sd15.load_base(file, configs=directory)
    assert single.sha256 == base_digest(file)
    for name in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(single, name).state_dict(), getattr(base, name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    assert torch.equal(sd15.encode_prompt(single, ["a fox"]), sd15.encode_prompt(base, ["a fox"]))
    assert single.sampler_settings(Sampler.DDIM).steps_offset == 1


def test_single_files_must_be_sound_safetensors(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.ckpt"
    checkpoint.write_bytes(b"x")
    with pytest.raises(BaseModelError, match=r"only \.safetensors"):
        sd15.load_base(checkpoint)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"x")
    with pytest.raises(BaseModelError, match="no sound safetensors file"):
        sd15.load_base(file)
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        sd15.load_base(file, configs=tmp_path)
