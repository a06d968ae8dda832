"""A folder of pictures as a data set: which are used, in which order, and how they are decoded.

Pictures come from anybody: sizes are checked before pixels are decoded, and one that cannot be read
is named, never skipped in silence. Knows Pillow and numpy, no torch and no models.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from rosetta_ui.errors import BadRequestError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"))

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What Pillow may decode, whatever a file is called: left to itself it would start Ghostscript for
an EPS file, and it knows forty more formats that nobody keeps photos in."""

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded (a 64-megapixel one takes 192 MB as RGB)."""

MAX_BYTES = 256 << 20
"""Larger files are refused before they are read."""

MAX_SCANS = 100
"""A progressive JPEG has about 10 passes over its pixels; one with thousands decodes for hours."""

WORKING_SIDE = 512
"""Pictures are reduced to about this shorter side when decoded; no backbone is fed a larger one."""

_ORIENTATION = 0x0112  # EXIF

_UNREADABLE = (
    OSError,
    SyntaxError,  # what Pillow's PNG reader raises for broken chunks
    ValueError,
    EOFError,
)


@dataclass(frozen=True)
class Photo:
    """One picture that can be read.

    Attributes:
        path: where it lies.
        sha256: of the file.
    """

    path: Path
    sha256: str


@dataclass(frozen=True)
class PhotoSet:
    """The pictures of a run, in visiting order.

    Attributes:
        photos: image i of the run is photos[i].
        refused: sentences that name each file that could not be read, and why.
    """

    photos: tuple[Photo, ...]
    refused: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all contents in visiting order, for cache keys."""
        text = "\n".join(photo.sha256 for photo in self.photos)
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.photos)


def find_photos(folder: Path) -> list[Path]:
    """Picture files in a folder and below, by name.

    Raises:
        BadRequestError: it is no folder, or holds no pictures.
    """
    if not folder.is_dir():
        raise BadRequestError(f"There is no folder '{folder}'.", "Give a folder of pictures.")
    try:
        found = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )
    except OSError as error:
        raise BadRequestError(
            f"The folder '{folder}' cannot be read: {error.strerror}.", "Check its permissions."
        ) from error
    if not found:
        raise BadRequestError(
            f"The folder '{folder}' holds no pictures.",
            f"Pictures end in {', '.join(sorted(SUFFIXES))}.",
        )
    return found


def choose_photos(
    folder: Path, n_images: int, seed: int, check: Callable[[], None] = lambda: None
) -> PhotoSet:
    """Choose pictures in a seeded random order, so that neighbours in it are independent.

    Each is decoded once here (small, so that it is quick): a file that is cut short is found now
    and not in the middle of a run, and image i is the same picture on every rank and after resume.

    Args:
        folder: of pictures.
        n_images: how many; fewer are chosen where the folder holds fewer.
        seed: of the order.
        check: called for each picture; may raise to end it.

    Raises:
        BadRequestError: there is no such folder, or no readable picture in it.
    """
    paths = find_photos(folder)
    order = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 0x70686F74))))
    photos: list[Photo] = []
    refused: list[str] = []
    for at in order.permutation(len(paths)):
        if len(photos) == n_images:
            break
        check()
        path = paths[int(at)]
        try:
            data = _bytes(path)
            decode(data, 64)
        except BadRequestError as error:
            refused.append(f"{path}: {error.message}")
        else:
            photos.append(Photo(path, hashlib.sha256(data).hexdigest()))
    if not photos:
        raise BadRequestError(f"No picture in '{folder}' can be read.", f"For example {refused[0]}")
    return PhotoSet(tuple(photos), tuple(refused))


def read_photo(photo: Photo) -> NDArray[np.uint8]:
    """Decode a chosen picture: HWC uint8, upright, about `WORKING_SIDE` px or smaller.

    Raises:
        BadRequestError: the file is gone or was changed since it was chosen.
    """
    data = _bytes(photo.path)
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise BadRequestError(
            f"'{photo.path}' was changed while it was in use.", "Start the match again."
        )
    return decode(data, WORKING_SIDE)


def decode(data: bytes, side: int) -> NDArray[np.uint8]:
    """Decode one picture: HWC uint8 RGB, upright, its shorter side reduced to `side` at most.

    The first frame of an animation; transparency over white; 16-bit values scaled to 8.

    Raises:
        BadRequestError: it is no picture, is cut short, or has too many pixels.
    """
    return decode_noted(data, side)[0]


def decode_noted(
    data: bytes, side: int, max_pixels: int = MAX_PIXELS
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """As `decode`, and what was done to the picture, as sentences.

    Args:
        data: of the file; what it is called does not matter.
        side: that its shorter side is reduced to.
        max_pixels: more are refused before they are decoded.

    Raises:
        BadRequestError: it is no picture, is cut short, or has too many pixels.
    """
    try:
        # Pillow warns above 89 megapixels; our own limit is below that and refuses.
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise BadRequestError(
                    f"It has {width}×{height} pixels.", f"At most {max_pixels:,} are read."
                )
            if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_SCANS:
                raise BadRequestError("It is a JPEG of too many passes.", "Save it anew.")
            notes = _notes(image)
            image.draft("RGB", (2 * side, 2 * side))  # JPEG decodes 1/2 to 1/8 of the pixels
            upright = ImageOps.exif_transpose(image)
            rgb = _rgb(upright)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow looks before we can; the second only comes where warnings are made errors.
        raise BadRequestError("It has far too many pixels.", f"At most {max_pixels:,}.") from error
    except UnidentifiedImageError as error:
        raise BadRequestError(
            "It is no picture that can be read here.",
            f"{', '.join(FORMATS)} can, whatever the name.",
        ) from error
    except _UNREADABLE as error:
        raise BadRequestError(f"It cannot be read as a picture ({error}).") from error
    scale = side / min(rgb.size)
    if scale < 1:
        size = (max(round(rgb.width * scale), 1), max(round(rgb.height * scale), 1))
        rgb = rgb.resize(size, Image.Resampling.LANCZOS)
        notes.append(f"Reduced from {width}×{height} pixels.")
    return np.asarray(rgb, np.uint8), tuple(notes)


def _notes(image: Image.Image) -> list[str]:
    notes: list[str] = []
    if image.format != "MPO" and getattr(image, "is_animated", False):
        notes.append("Of its frames or pages the first is used.")
    if image.getexif().get(_ORIENTATION, 1) != 1:
        notes.append("Turned upright, as its camera says.")
    if image.has_transparency_data:
        notes.append("Its transparent parts are white.")
    if image.mode == "CMYK":
        notes.append("Its CMYK colours were converted.")
    if image.mode.startswith("I") or image.mode == "F":
        notes.append("Its values were scaled to 8 bits.")
    return notes


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's own conversion clips 16-bit values at 255, which makes most pictures white.
        values = np.asarray(image, np.float32)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        return Image.fromarray((values.clip(0, top) * (255 / top)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def centre_crop(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The largest centred part of a picture that has the aspect of `size` (height, width)."""
    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1])
    h, w = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
    top, left = (height - h) // 2, (width - w) // 2
    return picture[top : top + h, left : left + w]


def describe_refused(refused: Sequence[str], shown: int = 5) -> list[str]:
    """Sentences for a log: each refused file, or the first ones and how many more."""
    sentences = [f"Not used: {sentence}" for sentence in refused[:shown]]
    if len(refused) > shown:
        sentences.append(f"Not used: {len(refused) - shown} more files that cannot be read.")
    return sentences


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadRequestError(f"It is larger than {MAX_BYTES >> 20} MiB.")
        return path.read_bytes()
    except OSError as error:
        raise BadRequestError(
            f"It cannot be read ({error.strerror}).", "Check its permissions."
        ) from error
