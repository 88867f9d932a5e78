"""Makes any picture upright RGB: decodes it with Pillow and takes its fingerprint.

Runs in a process of its own (picture_worker), because a decoder that meets hostile bytes may crash or eat
memory. Arrays: pixels_HWC are uint8, H rows, W columns, C channels.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from services.labeler.domain import Fingerprint, NormalisedPicture

# Only formats whose decoders work within the process: Pillow hands EPS, for one, to an interpreter.
# JPEG includes MPO, the JPEG with several pictures that some cameras write.
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF", "ICO")
_WORDS: Final = {"MPO": "jpeg"}
_COMPRESS_LEVEL: Final = 4
_WHITE: Final = (255, 255, 255)
_HASH_SIDE: Final = 8
_DCT_SIDE: Final = 32
# A 16-bit value times this is the nearest 8-bit one.
_SCALE_16: Final = 1 / 257
_ORIENTATION_TAG: Final = 0x0112

# The limit of this module is the caller's; Pillow's own would only warn below twice its value.
Image.MAX_IMAGE_PIXELS = None


class PictureError(Exception):
    """These bytes cannot be used as a picture; `reason` is for programs, the text for the uploader."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def normalise(data: bytes, *, max_pixels: int) -> NormalisedPicture:
    """The picture as upright RGB PNG with its fingerprint; PictureError for bytes that are none.

    EXIF orientation is applied, transparency is laid on white, the embedded colour profile is turned into
    sRGB, 16-bit and float channels are scaled to 8 bits, and of animations the first frame is taken.
    """
    if not data:
        raise PictureError("FILE_EMPTY", "the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow only warns about is decided by what comes out
        picture, source_format = _decoded(data, max_pixels)
    # Profiles (which carry the time of their making), dates and the like would get into the PNG.
    picture.info.clear()
    png = io.BytesIO()
    picture.save(png, "PNG", compress_level=_COMPRESS_LEVEL)
    return NormalisedPicture(
        png=png.getvalue(),
        width=picture.width,
        height=picture.height,
        source_format=source_format,
        fingerprint=fingerprint(picture),
    )


def fingerprint(picture: Image.Image) -> Fingerprint:
    """The fingerprint of an RGB picture."""
    digest = hashlib.sha256(f"{picture.width}x{picture.height}".encode())
    digest.update(picture.tobytes())
    thumbnail = picture.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX)
    return Fingerprint(
        pixel_sha256=digest.hexdigest(),
        perceptual_hash=perceptual_hash(picture),
        thumbnail=thumbnail.tobytes(),
    )


def perceptual_hash(picture: Image.Image) -> int:
    """64 bits: which of the 8x8 lowest frequencies of the brightness lie above their median (the DCT
    "pHash").

    Bit 0, which belongs to the mean brightness, is always 0.
    """
    grey = picture.convert("L").resize((_DCT_SIDE, _DCT_SIDE), Image.Resampling.LANCZOS)
    grey_HW = np.asarray(grey, dtype=np.float64)
    low_HW = (_DCT_LOW @ grey_HW @ _DCT_LOW.T).round(
        3
    )  # rounded, so that flat pictures do not hash their noise
    above = (low_HW > np.median(low_HW.ravel()[1:])).ravel()
    above[0] = False
    return sum(1 << index for index, bit in enumerate(above) if bit)


def _decoded(data: bytes, max_pixels: int) -> tuple[Image.Image, str]:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            source_format = _WORDS.get(picture.format or "", (picture.format or "").lower())
            _check_size(picture, max_pixels)
            picture.seek(0)
            picture.load()
            _check_size(picture, max_pixels)
            upright = _upright(picture)
            return _rgb(upright, picture.info), source_format
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(
            "FORMAT_UNSUPPORTED",
            "the file is no picture of a known format (PNG, JPEG, WebP, GIF, BMP, TIFF ...)",
        ) from None
    except MemoryError:
        raise PictureError("PICTURE_TOO_LARGE", "the picture needs more memory than it may have") from None
    except Exception as error:  # decoders raise whatever their format's code happens to raise
        if "truncated" in str(error).lower():
            raise PictureError("PICTURE_TRUNCATED", "the file ends before the picture does") from error
        raise PictureError("PICTURE_UNREADABLE", f"the picture cannot be decoded: {error}"[:300]) from error


def _check_size(picture: Image.Image, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise PictureError(
            "PICTURE_TOO_LARGE",
            f"the picture has {picture.width}x{picture.height} pixels; {max_pixels} pixels are allowed",
        )


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
        return ImageOps.exif_transpose(picture) if orientation in range(2, 9) else picture
    except Exception:  # broken EXIF says nothing about the picture itself
        return picture


def _rgb(picture: Image.Image, info: dict[Any, Any]) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in {"I", "F"}:
        return _on_white(_eight_bit(picture, info.get("transparency")))
    if picture.mode == "P" or "transparency" in info:
        # A palette's profile speaks of the colours in it, so the palette is resolved first.
        picture = picture.convert("RGBA")
    managed = _in_srgb(picture, info.get("icc_profile"))
    return _on_white(managed)


def _on_white(picture: Image.Image) -> Image.Image:
    if "a" not in picture.mode and "A" not in picture.mode[1:]:
        return picture.convert("RGB")
    straight = picture.convert("RGBA")
    white = Image.new("RGB", straight.size, _WHITE)
    white.paste(straight, mask=straight.getchannel("A"))
    return white


def _eight_bit(picture: Image.Image, transparency: Any) -> Image.Image:
    values_HW = np.asarray(picture)
    if picture.mode == "F":
        finite_HW = np.nan_to_num(values_HW, nan=0.0, posinf=1.0, neginf=0.0)
        # Float pictures hold 0..1 by custom; larger ones can only be meant as 0..255.
        bright_HW = finite_HW * 255 if finite_HW.max(initial=0) <= 1 else finite_HW
    else:
        bright_HW = values_HW * np.float32(_SCALE_16)
    grey = Image.fromarray(bright_HW.round().clip(0, 255).astype(np.uint8))
    if not isinstance(transparency, int):
        return grey
    seen = Image.fromarray(np.where(values_HW == transparency, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, seen))


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if picture.mode == "LAB":
        return _transformed(picture, ImageCms.createProfile("LAB")) or picture
    if not profile or picture.mode not in {"RGB", "RGBA", "CMYK", "L"}:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return _transformed(picture, source) or picture
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture  # a broken profile, or one of another colour space


def _transformed(picture: Image.Image, source: Any) -> Image.Image | None:
    target = "RGBA" if picture.mode == "RGBA" else "RGB"
    return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=target)


def _dct_rows() -> np.ndarray[Any, np.dtype[np.float64]]:
    """The lowest 8 rows of the orthonormal DCT-II matrix of 32 points."""
    frequency = np.arange(_HASH_SIDE)[:, None]
    point = np.arange(_DCT_SIDE)[None, :]
    rows = np.cos(np.pi * (2 * point + 1) * frequency / (2 * _DCT_SIDE)) * np.sqrt(2 / _DCT_SIDE)
    rows[0] /= np.sqrt(2)
    result: np.ndarray[Any, np.dtype[np.float64]] = rows
    return result


_DCT_LOW: Final = _dct_rows()
