"""Every kind of picture becomes right RGB."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from services.labeler.pictures import PictureError, fingerprint, normalise
from tests.fixtures.pictures import encoded, noise, pixels

SIZE = (48, 40)
LIMIT = 1_000_000


def rgb(data: bytes) -> np.ndarray:
    picture = normalise(data, max_pixels=LIMIT)
    opened = Image.open(io.BytesIO(picture.png))
    assert (opened.format, opened.mode, opened.size) == ("PNG", "RGB", (picture.width, picture.height))
    assert not opened.info
    return np.asarray(opened).astype(int)


def near(found: np.ndarray, wanted: np.ndarray, most: int) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted.astype(int)).max() <= most


@pytest.fixture
def picture() -> Image.Image:
    return noise(3, *SIZE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[8:, :16], upright[8:, 16:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    # What a camera stores so that the given orientation brings it upright.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    assert (rgb(data) == upright).all()
    blurred = rgb(encoded(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=exif, quality=95))
    assert np.abs(blurred - upright).mean() < 8


def test_broken_exif_is_passed_over(picture: Image.Image) -> None:
    assert (
        rgb(encoded(picture, "PNG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")) == np.asarray(picture)
    ).all()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "TGA", "GIF", "ICO"])
def test_formats_without_loss(form: str) -> None:
    few_colours = noise(4, 32, 32).quantize(64).convert("RGB")
    assert (rgb(encoded(few_colours, form)) == np.asarray(few_colours)).all()


@pytest.mark.parametrize(("form", "most"), [("JPEG", 40), ("WEBP", 60), ("JPEG2000", 60), ("AVIF", 60)])
def test_formats_with_loss(picture: Image.Image, form: str, most: int) -> None:
    near(rgb(encoded(picture, form, quality=95)), np.asarray(picture), most)
    assert normalise(encoded(picture, form), max_pixels=LIMIT).source_format == form.lower()


def test_transparency_is_laid_on_white(picture: Image.Image) -> None:
    alpha = Image.linear_gradient("L").resize(SIZE)
    picture.putalpha(alpha)
    share = np.asarray(alpha)[..., None] / 255
    wanted = np.asarray(picture)[..., :3] * share + 255 * (1 - share)
    near(rgb(encoded(picture)), wanted.round(), 1)
    near(rgb(encoded(picture, "WEBP", lossless=True, exact=True)), wanted.round(), 1)


def test_grey_with_alpha() -> None:
    grey = Image.merge("LA", (Image.new("L", SIZE, 100), Image.new("L", SIZE, 0)))
    assert (rgb(encoded(grey)) == 255).all()


def test_palette_with_a_transparent_entry() -> None:
    palette = Image.new("P", SIZE, 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.paste(0, (0, 0, 24, 40))
    opaque = rgb(encoded(palette))
    assert (opaque[0, 0] == (10, 20, 30)).all() and (opaque[0, -1] == (200, 100, 50)).all()
    clear = rgb(encoded(palette, "PNG", transparency=0))
    assert (clear[0, 0] == 255).all() and (clear[0, -1] == (200, 100, 50)).all()
    assert (rgb(encoded(palette, "GIF", transparency=0))[0, 0] == 255).all()


def test_a_transparent_colour_without_alpha_channel() -> None:
    flat = Image.new("RGB", SIZE, (1, 2, 3))
    assert (rgb(encoded(flat, "PNG", transparency=(1, 2, 3))) == 255).all()
    assert (rgb(encoded(Image.new("L", SIZE, 7), "PNG", transparency=7)) == 255).all()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_levels(mode: str) -> None:
    grey = noise(5, *SIZE).convert(mode)
    assert (rgb(encoded(grey)) == np.asarray(grey.convert("RGB"))).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey(form: str) -> None:
    values = np.linspace(0, 65535, SIZE[0] * SIZE[1]).round().astype(np.uint16).reshape(SIZE[::-1])
    found = rgb(encoded(Image.fromarray(values), form))
    near(found, np.repeat((values / 257).round()[..., None], 3, axis=2), 0)


def test_sixteen_bits_of_grey_with_a_transparent_value() -> None:
    data = encoded(Image.fromarray(np.full(SIZE[::-1], 1000, np.uint16)), "PNG")
    at = data.index(b"IDAT") - 4
    body = b"tRNS" + struct.pack(">H", 1000)
    import zlib

    chunk = struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body))
    assert (rgb(data[:at] + chunk + data[at:]) == 255).all()


def test_sixteen_bits_of_colour() -> None:
    import zlib

    width, height = 4, 2
    values = np.arange(width * height * 3, dtype=np.uint16).reshape(height, width, 3) * 2700
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    near(rgb(data), values / 257, 1)


def test_float_pictures() -> None:
    values = np.linspace(0, 1, SIZE[0] * SIZE[1]).astype(np.float32).reshape(SIZE[::-1])
    near(rgb(encoded(Image.fromarray(values), "TIFF"))[..., 0], (values * 255).round(), 0)
    values[0, 0] = np.nan
    assert rgb(encoded(Image.fromarray(values * 255), "TIFF"))[0, 0, 0] == 0


def test_cmyk_as_adobe_writes_it_and_as_tiff_does(picture: Image.Image) -> None:
    cmyk = picture.convert("CMYK")
    assert (rgb(encoded(cmyk, "TIFF")) == np.asarray(picture)).all()
    data = encoded(cmyk, "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in data
    near(rgb(data), np.asarray(picture), 12)


def test_lab_and_ycbcr(picture: Image.Image) -> None:
    near(rgb(encoded(picture.convert("YCbCr"), "TIFF")), np.asarray(picture), 3)
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(picture, to_lab)
    # 8 bits a channel are coarse for LAB, in dark saturated colours above all.
    assert np.abs(rgb(encoded(lab, "TIFF")) - np.asarray(picture)).mean() < 5


def test_an_embedded_profile_is_turned_into_srgb(picture: Image.Image) -> None:
    same = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    near(rgb(encoded(picture, "PNG", icc_profile=same)), np.asarray(picture), 1)
    assert (rgb(encoded(picture, "PNG", icc_profile=b"no profile at all")) == np.asarray(picture)).all()


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_animations_the_first_frame(form: str) -> None:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("#c80000", "#00c800")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    near(rgb(data)[0, 0], np.array([200, 0, 0]), 2)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(picture: Image.Image, form: str, share: float) -> None:
    data = encoded(picture, form)
    with pytest.raises(PictureError) as caught:
        normalise(data[: int(len(data) * share)], max_pixels=LIMIT)
    assert caught.value.reason in {"PICTURE_TRUNCATED", "PICTURE_UNREADABLE", "FORMAT_UNSUPPORTED"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "FILE_EMPTY"),
        (b"GIF89a", "PICTURE_UNREADABLE"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "FORMAT_UNSUPPORTED"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "FORMAT_UNSUPPORTED"),
        (bytes(1000), "FORMAT_UNSUPPORTED"),
    ],
)
def test_what_is_no_picture(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError) as caught:
        normalise(data, max_pixels=LIMIT)
    assert caught.value.reason in {reason, "FORMAT_UNSUPPORTED"}


def test_too_many_pixels() -> None:
    data = encoded(Image.new("1", (1001, 1000)))
    with pytest.raises(PictureError) as caught:
        normalise(data, max_pixels=LIMIT)
    assert caught.value.reason == "PICTURE_TOO_LARGE"
    assert "1001x1000" in str(caught.value)


def test_the_same_picture_makes_the_same_bytes(picture: Image.Image) -> None:
    first = normalise(encoded(picture), max_pixels=LIMIT)
    assert normalise(encoded(picture, "BMP"), max_pixels=LIMIT).png == first.png
    assert (pixels(first.png) == np.asarray(picture)).all()


def test_flat_pictures_have_the_empty_hash() -> None:
    for colour in ("white", "black", "#804020"):
        assert fingerprint(Image.new("RGB", (300, 200), colour)).perceptual_hash == 0
