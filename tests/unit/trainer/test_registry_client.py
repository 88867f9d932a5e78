from __future__ import annotations

import pytest

from brandloom.api.common.v1 import family_pb2
from brandloom.api.registry.v1 import resources_pb2
from services.trainer.registry_client import targets_of, version_from_proto
from services.trainer.spec import Target

UNET = "unet.down_blocks.0.attentions.0.transformer_blocks.0"
KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0"


@pytest.mark.parametrize(
    ("module", "targets"),
    [
        (f"{UNET}.attn1.to_q", {Target.ATTENTION}),
        (f"{UNET}.attn2.to_out.0", {Target.ATTENTION}),
        (f"{UNET}.ff.net.0.proj", {Target.FEED_FORWARD}),
        (f"{UNET}.ff.net.2", {Target.FEED_FORWARD}),
        ("unet.mid_block.attentions.0.proj_in", {Target.CONV_1X1}),
        ("text_encoder.text_model.encoder.layers.0.self_attn.out_proj", {Target.ATTENTION}),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1", {Target.FEED_FORWARD}),
        (f"{KOHYA}_attn1_to_out_0", {Target.ATTENTION}),
        (f"{KOHYA}_ff_net_0_proj", {Target.FEED_FORWARD}),
        ("lora_unet_mid_block_attentions_0_proj_out", {Target.CONV_1X1}),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", {Target.ATTENTION}),
        ("lora_te_text_model_encoder_layers_0_mlp_fc2", {Target.FEED_FORWARD}),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", {Target.ATTENTION}),
        ("lora_unet_output_blocks_5_1_transformer_blocks_1_ff_net_2", {Target.FEED_FORWARD}),
        ("lora_unet_middle_block_1_proj_in", {Target.CONV_1X1}),
        ("unet.conv_in", set()),
    ],
)
def test_a_module_tells_its_target(module: str, targets: set[Target]) -> None:
    assert targets_of([module]) == targets


@pytest.mark.parametrize(
    ("components", "trains"),
    [
        (["unet"], False),
        (["text_encoder", "unet"], True),
        (["text_encoder_2", "unet"], True),
    ],
)
def test_either_text_encoder_counts(components: list[str], trains: bool) -> None:
    version = resources_pb2.LoraVersion(family=family_pb2.MODEL_FAMILY_SDXL, components=components)
    assert version_from_proto(version).trains_text_encoder is trains
