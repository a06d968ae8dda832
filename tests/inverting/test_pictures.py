"""Uploads: every kind of picture comes out right or with one sentence, decided by content."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import Crop, Guidance, InversionRequest, InversionSettings, default_crop
from rosetta_ui.inverting.pictures import read_file, read_picture


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    values = np.zeros((height, width, 3), np.uint8)
    values[..., 0] = np.linspace(0, 255, width)[None]
    values[..., 1] = np.linspace(0, 255, height)[:, None]
    return Image.fromarray(values)


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_a_plain_picture_comes_as_it_is_without_notes() -> None:
    read = read_picture(encoded(gradient()))
    assert read.picture.shape == (30, 40, 3)
    assert read.notes == ()
    assert np.array_equal(read.picture, np.asarray(gradient()))


TURNS: dict[int, Callable[[Any], Any]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p),
}
"""How a camera was held → what makes its picture upright."""


@pytest.mark.parametrize("held", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_turned_photo_stands_upright_and_it_is_said(held: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = held
    exact = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    read = read_picture(encoded(gradient(), kind, exif=exif, **exact.get(kind, {})))
    upright = TURNS[held](np.asarray(gradient())).astype(int)
    assert read.picture.shape == upright.shape
    assert np.abs(read.picture - upright).max() < 12, "JPEG is lossy"
    assert read.notes == (("Turned upright, as its camera says.",) if held > 1 else ())


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "I;16", "F"])
def test_every_mode_of_colour_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.linspace(0, 65535, 1200, dtype=np.uint16).reshape(30, 40))
    else:
        image = gradient().convert(mode)
    kind = {"CMYK": "JPEG", "F": "TIFF"}.get(mode, "PNG")
    read = read_picture(encoded(image, kind))
    assert read.picture.shape == (30, 40, 3)
    assert read.picture.dtype == np.uint8
    assert read.picture.max() > 200
    assert read.picture.min() < 60
    assert bool(read.notes) == (mode in ("CMYK", "LA", "RGBA", "I;16", "F"))


def test_transparent_parts_are_white_and_it_is_said() -> None:
    image = gradient().convert("RGBA")
    image.putalpha(0)
    read = read_picture(encoded(image))
    assert (read.picture == 255).all()
    assert "white" in read.notes[0]


def test_a_colour_of_a_palette_may_be_transparent() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 10, 20))
    for kind in ("PNG", "GIF"):
        read = read_picture(encoded(image, kind, transparency=0))
        assert read.picture[5, 15].tolist() == [255, 255, 255]
        assert read.picture[5, 5].tolist() == [0, 0, 255]
        assert read.notes == ("Its transparent parts are white.",)


def test_a_cmyk_photo_has_its_own_colours() -> None:
    for colour in ((230, 120, 30), (20, 160, 90), (250, 250, 250)):
        image = Image.new("RGB", (40, 30), colour).convert("CMYK")
        read = read_picture(encoded(image, "JPEG", quality=95))
        assert np.abs(read.picture[10, 10].astype(int) - colour).max() < 8
        assert read.notes == ("Its CMYK colours were converted.",)


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (16, 1))
    for kind in ("PNG", "TIFF"):
        read = read_picture(encoded(Image.fromarray(ramp), kind))
        assert np.abs(read.picture[3, :, 0].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    read = read_picture(data)
    assert read.picture[5, 5, 0] > 200
    assert read.picture[5, 5, 2] < 60
    assert "first" in read.notes[0]


def test_a_large_picture_is_reduced_and_it_is_said() -> None:
    read = read_picture(encoded(Image.new("RGB", (3000, 2000), "teal"), "JPEG"))
    assert min(read.picture.shape[:2]) == 1024
    assert read.notes == ("Reduced from 3000×2000 pixels.",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"just words, whatever the name", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (encoded(gradient(400, 300), "JPEG")[:2000], "cannot be read"),
        (bomb(60_000, 60_000), "too many pixels"),
        (bomb(8_000, 8_000), "8000×8000 pixels"),
        (encoded(Image.new("RGB", (1, 1))), "1×1 pixels"),
        (encoded(Image.new("RGB", (4000, 1))), "4000×1 pixels"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(data: bytes, said: str) -> None:
    with pytest.raises(BadRequestError, match=said) as caught:
        read_picture(data)
    assert "\n" not in caught.value.sentence


def test_a_jpeg_of_endless_passes_is_refused_before_it_is_decoded() -> None:
    whole = encoded(gradient(), "JPEG", progressive=True)
    at = whole.rindex(b"\xff\xda")
    scan = whole[at:-2]
    with pytest.raises(BadRequestError, match="passes"):
        read_picture(whole[:-2] + scan * 200 + b"\xff\xd9")


def test_a_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    with pytest.raises(BadRequestError, match=r"large\.png.*MiB"):
        read_file(path)
    with pytest.raises(BadRequestError, match="cannot be read"):
        read_file(tmp_path / "missing.png")


@pytest.mark.filterwarnings("ignore::UserWarning")  # what Pillow says of damaged EXIF
def test_mutated_pictures_never_end_in_another_error() -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 3
    whole = [
        encoded(gradient(), "JPEG", exif=exif),
        encoded(gradient()),
        encoded(gradient(), "GIF"),
    ]
    for _ in range(300):
        data = bytearray(whole[int(rng.integers(3))])
        for _ in range(int(rng.integers(1, 12))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        try:
            read_picture(bytes(data))
        except BadRequestError:
            continue


# Crops and requests


def test_a_crop_is_square_and_inside() -> None:
    picture = np.asarray(gradient(90, 60))
    for crop in (Crop(), Crop(0, 0, 1), Crop(1, 1, 0.5), Crop(0.5, 0.5, 0.01)):
        cut = crop.cut(picture)
        assert cut.shape[0] == cut.shape[1] >= 1
    assert Crop(0, 0, 0.5).box(90, 60) == (0, 0, 30)
    assert Crop(1, 1, 0.5).box(90, 60) == (60, 30, 30)
    with pytest.raises(BadRequestError, match="outside"):
        Crop(1.5, 0, 1)
    with pytest.raises(BadRequestError, match="outside"):
        Crop(float("nan"), 0, 1)


def test_portraits_are_cut_in_the_upper_part_and_others_in_the_middle() -> None:
    assert default_crop(600, 900, "centre") == Crop()
    assert default_crop(900, 600, "portrait") == Crop()
    tall = default_crop(600, 1800, "portrait")
    assert tall.box(600, 1800) == (0, 300, 600)
    nearly = default_crop(600, 700, "portrait")
    assert nearly.box(600, 700) == (0, 0, 600)


def test_nothing_that_guides_and_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(BadRequestError, match="all weights are 0"):
        Guidance(0, 0, 0)
    with pytest.raises(BadRequestError, match="weights"):
        Guidance(-1, 1, 0)
    with pytest.raises(BadRequestError, match="0 steps"):
        InversionSettings(steps=0)
    with pytest.raises(BadRequestError, match="start"):
        InversionSettings(start="elsewhere")  # pyright: ignore
    with pytest.raises(BadRequestError, match="1×1"):
        InversionRequest("g", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(BadRequestError, match=r"\(10, 12, 3\)"):
        InversionRequest("g", np.zeros((10, 12, 3), np.uint8))
