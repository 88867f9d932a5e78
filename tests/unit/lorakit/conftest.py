"""Small models of the real classes, made once for each file of tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline
from torch import nn

from lorakit.families import sd15
from lorakit.families.sd15 import module_shapes
from lorakit.routing import install
from tests.fixtures.tiny_sd import tiny_pipeline


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def base_modules(pipeline: StableDiffusionPipeline) -> Mapping[str, Mapping[str, Any]]:
    return {"unet": module_shapes(pipeline.unet), "text_encoder": module_shapes(pipeline.text_encoder)}


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return tiny_pipeline().unet.eval().requires_grad_(False)


@pytest.fixture
def routed_unet(unet: nn.Module) -> nn.Module:
    model = copy.deepcopy(unet)
    install(model, sd15.routable_paths(model))
    return model
