"""The picture that a job begins from: read, cut to size, encoded, and its kept part put back at the end.

H rows and W columns of pixels; C channels of latents, h rows and w columns of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from lorakit.families.diffusion_base import DiffusionBase, encode_pictures
from lorakit.samplers import Beginning
from services.inference.domain import InitialImage
from services.inference.engine.received_pictures import read_mask, read_picture, refused

IMAGE_FIELD = "initial_image.image"
MASK_FIELD = "initial_image.mask_png"
STRENGTH_FIELD = "initial_image.strength"
MADE_ANEW = 0.5
"""From this brightness of the mask on, latents are made anew."""


@dataclass(frozen=True, slots=True)
class InitialPicture:
    """A job's picture and mask at the size of the pictures that it asks for."""

    x_3HW: torch.Tensor
    """In [-1, 1]."""
    mask_1HW: torch.Tensor | None
    """In [0, 1]; None: all of it is made anew."""

    def put_back(self, made_3HW: torch.Tensor) -> torch.Tensor:
        """A finished picture in which everything is as it was where the mask is black.

        Where it is grey the two are mixed, so that a soft mask has a soft edge.
        """
        if self.mask_1HW is None:
            return made_3HW
        mask_1HW = self.mask_1HW.to(made_3HW.device)
        return torch.lerp(self.x_3HW.to(made_3HW.device), made_3HW, mask_1HW)


def read_initial(initial: InitialImage, height: int, width: int) -> InitialPicture:
    """Picture and mask scaled to cover ``height`` x ``width`` pixels, and cut to them at their centres.

    Raises JobError naming the field for a file that is no picture or too large.
    """
    picture = _fitted(read_picture(initial.image, IMAGE_FIELD), height, width)
    # As diffusers' image processor does it, to the last bit.
    x_3HW = torch.from_numpy(np.asarray(picture).astype(np.float32) / 255).permute(2, 0, 1) * 2 - 1
    if not initial.mask_png:
        return InitialPicture(x_3HW, None)
    mask = _fitted(read_mask(initial.mask_png, MASK_FIELD), height, width)
    return InitialPicture(x_3HW, torch.from_numpy(np.asarray(mask).astype(np.float32) / 255)[None])


def encode_initial(picture: InitialPicture, strength: float, base: DiffusionBase) -> Beginning:
    """What rows of a base begin from. JobError for a mask under which not one latent is made anew."""
    mask_1hw = None
    if picture.mask_1HW is not None:
        mask_1hw = _latent_mask(picture.mask_1HW, base.vae_scale_factor).to(base.device)
        if not mask_1hw.any():
            raise refused(MASK_FIELD, "is dark everywhere: nothing of the picture would be made anew")
    mean_1Chw, std_1Chw = encode_pictures(base, picture.x_3HW[None])
    return Beginning(
        mean_CHW=mean_1Chw[0].to(base.device, torch.float32),
        std_CHW=std_1Chw[0].to(base.device, torch.float32),
        strength=strength,
        mask_1HW=mask_1hw,
    )


def _fitted(picture: Image.Image, height: int, width: int) -> Image.Image:
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _latent_mask(mask_1HW: torch.Tensor, factor: int) -> torch.Tensor:
    """1 or 0 for each latent, by its top left pixel: so do diffusers' inpainting pipelines."""
    return (mask_1HW[:, ::factor, ::factor] >= MADE_ANEW).float()
