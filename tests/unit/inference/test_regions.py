"""Boxes and masks as maps of the latents' size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from services.inference.domain import Box, Mask
from services.inference.engine.errors import JobError
from services.inference.engine.regions import region_map
from tests.fixtures.pictures import encoded


def test_a_box_covers_its_cells_in_part_at_its_edges() -> None:
    found_HW = region_map(Box(left=0.25, top=0.0, right=1.0, bottom=0.375), 4, 2)
    columns_W = torch.tensor([0.5, 1.0])
    rows_H = torch.tensor([1.0, 0.5, 0.0, 0.0])
    torch.testing.assert_close(found_HW, torch.outer(rows_H, columns_W))


def test_the_whole_picture_is_all_ones_at_any_size() -> None:
    whole = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    for height, width in ((1, 1), (3, 7), (96, 64), (128, 127)):
        assert torch.equal(region_map(whole, height, width), torch.ones(height, width))


def test_a_box_within_one_cell_has_its_share_of_it() -> None:
    found_HW = region_map(Box(left=0.1, top=0.1, right=0.2, bottom=0.2), 2, 2)
    torch.testing.assert_close(found_HW, torch.tensor([[0.04, 0.0], [0.0, 0.0]]))


def test_a_mask_gives_each_latent_its_mean_brightness() -> None:
    pixels_HW = np.zeros((8, 16), dtype=np.uint8)
    pixels_HW[:4, :6] = 255
    found_HW = region_map(Mask(png=encoded(Image.fromarray(pixels_HW))), 2, 4)
    torch.testing.assert_close(found_HW, torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0] * 4]))


def test_a_mask_is_stretched_whatever_its_shape_and_mode() -> None:
    pixels_HWC = np.zeros((3, 2, 4), dtype=np.uint8)
    # White on the left; on the right white too, but fully transparent, which is dark.
    pixels_HWC[..., :3] = 255
    pixels_HWC[:, 0, 3] = 255
    found_HW = region_map(Mask(png=encoded(Image.fromarray(pixels_HWC))), 6, 4)
    torch.testing.assert_close(found_HW, torch.tensor([[1.0, 1.0, 0.0, 0.0]]).expand(6, 4))


def test_a_mask_that_is_none_is_refused_by_its_field() -> None:
    with pytest.raises(JobError) as caught:
        region_map(Mask(png=b"\xff\xd8\xff no PNG"), 4, 4, field="stack[2].region.mask_png")
    failure = caught.value.failure
    assert (failure.kind, failure.reason) == ("InvalidArgument", "PICTURE_INVALID")
    assert failure.field == "stack[2].region.mask_png"
