"""Pictures from anybody: a right picture or a sentence, in an order that a seed decides."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.photos import (
    centre_crop,
    choose_photos,
    decode,
    decode_noted,
    read_photo,
)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    x = np.linspace(0, 255, width)[None, :, None]
    y = np.linspace(0, 255, height)[:, None, None]
    planes = np.broadcast_to(
        np.concatenate([x + 0 * y, 0 * x + y, 0 * (x + y)], -1), (height, width, 3)
    )
    return Image.fromarray(planes.astype(np.uint8))


def fill(folder: Path, n: int = 6) -> None:
    folder.mkdir()
    for i in range(n):
        gradient(40 + i).save(folder / f"photo{i}.png")


def test_the_same_seed_visits_the_same_photos_in_the_same_random_order(tmp_path: Path) -> None:
    fill(tmp_path / "a", 12)
    first = choose_photos(tmp_path / "a", 12, seed=1)
    assert [p.path for p in first.photos] == [
        p.path for p in choose_photos(tmp_path / "a", 12, seed=1).photos
    ]
    assert [p.path for p in first.photos] != sorted(p.path for p in first.photos)
    assert first.digest != choose_photos(tmp_path / "a", 12, seed=2).digest
    few = choose_photos(tmp_path / "a", 5, seed=1)
    assert few.photos == first.photos[:5]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "a", 4)
    (tmp_path / "a" / "text.png").write_text("no picture", "utf-8")
    jpeg = encoded(gradient(200, 200), "JPEG")
    (tmp_path / "a" / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    chosen = choose_photos(tmp_path / "a", 100, seed=0)
    assert len(chosen) == 4
    assert {Path(sentence.split(": ")[0]).name for sentence in chosen.refused} == {
        "text.png",
        "cut.jpg",
    }


def test_folders_without_readable_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="no folder"):
        choose_photos(tmp_path / "nowhere", 4, 0)
    with pytest.raises(BadRequestError, match="holds no pictures"):
        choose_photos(tmp_path, 4, 0)
    (tmp_path / "text.png").write_text("no picture", "utf-8")
    with pytest.raises(BadRequestError, match="can be read"):
        choose_photos(tmp_path, 4, 0)


def test_a_photo_that_changed_since_it_was_chosen_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "a", 1)
    (photo,) = choose_photos(tmp_path / "a", 1, 0).photos
    assert read_photo(photo).shape == (30, 40, 3)
    gradient(41).save(photo.path)
    with pytest.raises(BadRequestError, match="was changed"):
        read_photo(photo)


def test_cameras_rotation_is_undone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270°
    turned = gradient().transpose(Image.Transpose.ROTATE_90)
    data = encoded(turned, "JPEG", exif=exif, quality=95)
    upright = decode(data, 512).astype(int)
    assert upright.shape == (30, 40, 3)
    assert np.abs(upright - np.asarray(gradient()).astype(int)).mean() < 4


def test_every_mode_becomes_the_right_rgb() -> None:
    rgb = np.asarray(gradient())
    grey16 = Image.fromarray((np.linspace(0, 65535, 64).reshape(8, 8)).astype(np.uint16))
    wide = decode(encoded(grey16), 512)
    assert wide[0, 0, 0] == 0
    assert wide[-1, -1, 0] == 255
    assert abs(int(wide[4, 0, 0]) - 129) <= 2
    see_through = gradient().convert("RGBA")
    see_through.putalpha(0)
    assert (decode(encoded(see_through), 512) == 255).all()
    cmyk = decode(encoded(gradient().convert("CMYK"), "TIFF"), 512)
    assert np.abs(cmyk.astype(int) - rgb).max() <= 2
    frames = [gradient(), Image.new("RGB", (40, 30))]
    moving = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert (decode(moving, 512) == rgb).all()
    assert decode(encoded(Image.new("1", (1, 1), 1)), 512).tolist() == [[[255, 255, 255]]]


def test_bombs_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequestError, match="40×30 pixels"):
        decode_noted(encoded(gradient()), 512, max_pixels=1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadRequestError, match="far too many pixels"):
        decode(encoded(gradient()), 512)


def test_large_photos_are_reduced_and_crops_keep_the_aspect() -> None:
    assert decode(encoded(gradient(400, 200), "JPEG"), 64).shape == (64, 128, 3)
    assert centre_crop(decode(encoded(gradient()), 512), (224, 224)).shape == (30, 30, 3)
    assert centre_crop(decode(encoded(gradient()), 512), (10, 40)).shape == (10, 40, 3)
