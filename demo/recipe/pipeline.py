"""The parts of the base model and how they are written as one stock pipeline directory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from demo.recipe.autoencoder import LATENT_CHANNELS
from demo.recipe.saving import forget_origin, read_as_float32
from demo.recipe.words import BOS, EOS, MAX_TOKENS, new_tokenizer

TEXT_WIDTH = 128


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers: the grammar is small, and is learned together with the pictures."""
    ids = tokenizer.get_vocab()
    config = CLIPTextConfig(
        vocab_size=len(ids), hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=MAX_TOKENS,
        bos_token_id=ids[BOS], eos_token_id=ids[EOS], pad_token_id=ids[EOS], hidden_act="quick_gelu",
    )  # fmt: skip
    return CLIPTextModel(config)


def new_unet() -> UNet2DConditionModel:
    """Attention at 8 x 8 and 4 x 4 only: at 16 x 16 it would cost most of the time and gain little."""
    return UNet2DConditionModel(  # type: ignore[no-any-return]
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96, 192),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise levels; the network predicts velocity, which needs fewer training steps."""
    return DDIMScheduler(  # type: ignore[no-any-return]
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def build_pipeline(
    vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """A stock pipeline without a safety checker: the model can draw nothing but its own small world."""
    return StableDiffusionPipeline(
        vae=vae, unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=new_scheduler(),  # type: ignore[arg-type]
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,  # type: ignore[arg-type]
    )  # fmt: skip


def save_pipeline(pipeline: StableDiffusionPipeline, out: Path) -> None:
    """Write float16 weights beside the target, then swap file by file: no reader sees half a file."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".new-") as name:
        pipeline.to(dtype=torch.float16, silence_dtype_warnings=True).save_pretrained(name)
        read_as_float32(Path(name) / "text_encoder")
        forget_origin(Path(name))
        for file in sorted(Path(name).rglob("*")):
            if file.is_file():
                target = out / file.relative_to(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.chmod(0o644)
                file.replace(target)


def random_pipeline(vae: AutoencoderKL, seed: int = 0) -> StableDiffusionPipeline:
    """The same architecture before any training."""
    torch.manual_seed(seed)
    tokenizer = new_tokenizer()
    return build_pipeline(vae, new_unet(), new_text_encoder(tokenizer), tokenizer)
