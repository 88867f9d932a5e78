"""Initial pictures and masks: what is read, what is refused, and what is put back."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lorakit.families import sd15
from services.inference.domain import InitialImage
from services.inference.engine import received_pictures
from services.inference.engine.beginnings import encode_initial, read_initial
from services.inference.engine.errors import JobError
from services.inference.engine.received_pictures import read_mask, read_picture
from tests.fixtures.pictures import encoded, noise
from tests.fixtures.tiny_sd import save_tiny_pipeline

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def halves(left: Any, right: Any, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    picture = Image.new(mode, size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture


def failure_of(image: InitialImage, height: int = 8, width: int = 8) -> tuple[str, str, str]:
    with pytest.raises(JobError) as caught:
        read_initial(image, height, width)
    failure = caught.value.failure
    assert failure.kind == "InvalidArgument"
    return failure.field, failure.reason, failure.message


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims a size, and whose compressed rows would be as large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 22), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_scaled_and_cut_at_their_centres(form: str) -> None:
    wide = Image.new("RGB", (64, 16), GREEN)
    wide.paste(RED, (0, 0, 20, 16))
    wide.paste(BLUE, (44, 0, 64, 16))
    options = {"quality": 100, "lossless": True} if form == "WEBP" else {}
    found = read_initial(InitialImage(image=encoded(wide, form, **options)), 8, 8)
    # Of four squares the middle two are left, and of those no more than green.
    green_3HW = torch.tensor([-1.0, 1.0, -1.0])[:, None, None].expand(3, 8, 8)
    torch.testing.assert_close(found.x_3HW, green_3HW, atol=0.1, rtol=0)
    assert found.mask_1HW is None


def test_pictures_are_turned_upright() -> None:
    picture = halves(RED, BLUE)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    found = read_picture(encoded(picture, "PNG", exif=exif), "initial_image.image")
    assert found.getpixel((4, 0)) == RED
    assert found.getpixel((4, 7)) == BLUE


@pytest.mark.parametrize(
    ("picture", "right"),
    [
        (halves((*RED, 255), (0, 0, 0, 0), mode="RGBA"), (255, 255, 255)),
        (halves((*RED, 255), (0, 0, 255, 128), mode="RGBA"), (127, 127, 255)),
        (halves((*RED, 255), (0, 0, 0, 0), mode="RGBA").convert("P"), (255, 255, 255)),
    ],
    ids=["clear", "half", "palette"],
)
def test_what_is_transparent_lies_on_white(picture: Image.Image, right: tuple[int, ...]) -> None:
    found = read_picture(encoded(picture), "initial_image.image")
    assert (found.getpixel((0, 0)), found.getpixel((7, 0))) == (RED, right)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    grey = Image.fromarray(np.full((4, 4), 0x8080, dtype=np.uint16))
    assert read_picture(encoded(grey), "initial_image.image").getpixel((0, 0)) == (128, 128, 128)
    assert read_mask(encoded(grey), "initial_image.mask_png").getpixel((0, 0)) == 128


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", "PICTURE_INVALID", "no PNG, JPEG or WEBP picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PICTURE_INVALID", "no PNG, JPEG or WEBP picture"),
        (encoded(noise(1), "BMP"), "PICTURE_INVALID", "no PNG, JPEG or WEBP picture"),
        (encoded(noise(1))[:-200], "PICTURE_INVALID", "that can be decoded"),
        (bomb(60_000, 60_000), "PICTURE_TOO_LARGE", "60000x60000 pixels"),
        (bytes(received_pictures.MAX_PICTURE_BYTES + 1), "PICTURE_TOO_LARGE", "bytes"),
    ],
    ids=["empty", "postscript", "bitmap", "truncated", "bomb", "bytes"],
)
def test_bad_pictures_are_refused_by_their_field(data: bytes, reason: str, words: str) -> None:
    field, found, message = failure_of(InitialImage(image=data))
    assert (field, found) == ("initial_image.image", reason)
    assert words in message


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (encoded(noise(1), "JPEG"), "PICTURE_INVALID"),
        (bomb(5000, 5000), "PICTURE_TOO_LARGE"),
        (bytes(received_pictures.MAX_MASK_BYTES + 1), "PICTURE_TOO_LARGE"),
    ],
    ids=["jpeg", "bomb", "bytes"],
)
def test_bad_masks_are_refused_by_their_field(mask: bytes, reason: str) -> None:
    field, found, _ = failure_of(InitialImage(image=encoded(noise(1)), mask_png=mask))
    assert (field, found) == ("initial_image.mask_png", reason)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(_: Image.Image) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded)
    assert failure_of(InitialImage(image=bomb(60_000, 60_000)))[1] == "PICTURE_TOO_LARGE"


def test_the_kept_part_is_put_back_to_the_bit() -> None:
    picture = noise(3, 16, 16)
    mask = Image.fromarray(np.repeat(np.array([[0] * 6 + [128] * 2 + [255] * 8], dtype=np.uint8), 16, 0))
    initial = read_initial(InitialImage(image=encoded(picture), mask_png=encoded(mask)), 16, 16)
    made_3HW = torch.full((3, 16, 16), 0.25)
    result_3HW = initial.put_back(made_3HW)
    pixels_HW3 = (result_3HW / 2 + 0.5).mul(255).round().permute(1, 2, 0).numpy()
    original_HW3 = np.asarray(picture).astype(np.float32)
    assert np.array_equal(pixels_HW3[:, :6], original_HW3[:, :6])
    assert torch.equal(result_3HW[..., 8:], made_3HW[..., 8:])
    mixed = original_HW3[:, 6:8] * (127 / 255) + 159.375 * (128 / 255)
    assert np.abs(pixels_HW3[:, 6:8] - mixed).max() <= 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> sd15.BaseModel:
    return sd15.load_base(save_tiny_pipeline(tmp_path_factory.mktemp("beginnings") / "tiny"))


@torch.inference_mode()
def test_latents_and_their_mask_have_the_latents_size(base: sd15.BaseModel) -> None:
    mask = encoded(halves(0, 255, (16, 16), "L"))
    initial = read_initial(InitialImage(image=encoded(noise(3)), mask_png=mask), 12, 16)
    found = encode_initial(initial, 0.5, base)
    assert (found.mean_CHW.shape, found.strength) == ((4, 6, 8), 0.5)
    assert found.mask_1HW is not None
    assert found.mask_1HW.tolist() == [[[0.0] * 4 + [1.0] * 4] * 6]


@torch.inference_mode()
def test_a_mask_that_makes_nothing_anew_is_refused(base: sd15.BaseModel) -> None:
    initial = read_initial(
        InitialImage(image=encoded(noise(3)), mask_png=encoded(Image.new("L", (4, 4), 100))), 16, 16
    )
    with pytest.raises(JobError) as caught:
        encode_initial(initial, 0.5, base)
    assert caught.value.failure.field == "initial_image.mask_png"


def test_colours_of_a_profile_become_those_of_the_screen(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    broken = encoded(halves(RED, BLUE), icc_profile=b"no profile")
    other = encoded(halves(RED, BLUE), icc_profile=profile.tobytes())
    for data in (broken, other):
        assert read_picture(data, "initial_image.image").getpixel((0, 0)) == RED
    assert Image.open(io.BytesIO(other)).info["icc_profile"]
