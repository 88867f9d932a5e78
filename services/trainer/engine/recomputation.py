"""Gradient checkpointing: activations are dropped in the forward pass and computed again in the backward."""

from __future__ import annotations

from diffusers import ModelMixin
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


def recompute(model: nn.Module, on: bool) -> None:
    """Switches the gradient checkpointing of a model of diffusers or transformers.

    A model stays in evaluation mode, so that nothing of its own is dropped at random. Raises ValueError for
    a model that cannot do it.
    """
    if isinstance(model, ModelMixin):
        switch = ModelMixin.enable_gradient_checkpointing if on else ModelMixin.disable_gradient_checkpointing
        switch(model)
        return
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"{type(model).__name__} knows no gradient checkpointing")
    if on:
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:
        model.activation_checkpointing_disable()
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            # They look at their own mode before they recompute; what is inside stays in evaluation mode.
            layer.training = on
