"""Pictures and masks that come with a request: decoded within bounds, upright, without transparency.

They come from anywhere, so a file's own claim of its size is checked before a pixel is decoded, and only the
decoders of the formats on offer are asked.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms, ImageOps

from services.inference.engine.errors import JobError

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP")
MASK_FORMATS = ("PNG",)
MAX_PICTURE_BYTES = 16 << 20
MAX_MASK_BYTES = 4 << 20
MAX_PICTURE_PIXELS = 32_000_000
"""A camera's picture may be larger than any that is made from it; decoded it takes four bytes a pixel."""
MAX_MASK_PIXELS = 16_000_000
_WHITE = (255, 255, 255, 255)
_BLACK = (0, 0, 0, 255)
_STEPS_16 = 257
"""Of 16-bit brightness for one of 8 bits."""
_MANAGED_MODES = ("RGB", "CMYK", "L")

# The limits are this module's; Pillow's own would only warn below twice its value.
Image.MAX_IMAGE_PIXELS = None


def read_picture(data: bytes, field: str) -> Image.Image:
    """An upright RGB picture, in sRGB and on white; JobError naming ``field`` for what is none.

    Of an animation it is the first frame.
    """
    picture = _decoded(data, field, PICTURE_FORMATS, MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS)
    return _on(_WHITE, _in_srgb(picture))


def read_mask(data: bytes, field: str) -> Image.Image:
    """A mask's brightness, transparent parts being dark; JobError naming ``field`` for what is none."""
    mask = _decoded(data, field, MASK_FORMATS, MAX_MASK_BYTES, MAX_MASK_PIXELS)
    return _on(_BLACK, mask).convert("L")


def refused(field: str, message: str, *, reason: str = "PICTURE_INVALID") -> JobError:
    """The error for a picture of a request that cannot be used."""
    return JobError(message, kind="InvalidArgument", reason=reason, field=field)


def _decoded(
    data: bytes, field: str, formats: tuple[str, ...], max_bytes: int, max_pixels: int
) -> Image.Image:
    if len(data) > max_bytes:
        raise refused(field, f"has {len(data)} bytes, {max_bytes} are allowed", reason="PICTURE_TOO_LARGE")
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            pixels = picture.width * picture.height
            if pixels > max_pixels:
                raise refused(
                    field,
                    f"has {picture.width}x{picture.height} pixels, {max_pixels} pixels are allowed",
                    reason="PICTURE_TOO_LARGE",
                )
            picture.load()
            return _upright(_eight_bit(picture))
    except JobError:
        raise
    except MemoryError as error:
        raise refused(field, "needs more memory than there is", reason="PICTURE_TOO_LARGE") from error
    except Exception as error:
        # Decoders raise whatever their format's code happens to raise.
        raise refused(field, f"is no {_listed(formats)} picture that can be decoded") from error


def _listed(formats: tuple[str, ...]) -> str:
    return " or ".join(part for part in (", ".join(formats[:-1]), formats[-1]) if part)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        # Broken EXIF says nothing about the picture itself.
        return picture


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey scaled down, which Pillow's own conversion would clip."""
    if not picture.mode.startswith("I"):
        return picture
    values_HW = np.asarray(picture).astype(np.float32) / _STEPS_16
    return Image.fromarray(values_HW.round().clip(0, 255).astype(np.uint8))


def _in_srgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in _MANAGED_MODES or "transparency" in picture.info:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        # A broken profile, or one of another colour space.
        return picture
    return converted or picture


def _on(colour: tuple[int, int, int, int], picture: Image.Image) -> Image.Image:
    """RGB, with what is transparent laid on a colour."""
    if "transparency" not in picture.info and "a" not in picture.mode.lower()[1:]:
        return picture.convert("RGB")
    straight = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", straight.size, colour), straight).convert("RGB")
