"""`metrics`: numbers of each file and their mean; what cannot be compared is named."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.cli import main


def save(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(values).save(path)


def folders(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "a", tmp_path / "b"
    for seed, name in enumerate(("one.png", "deep/two.png")):
        save(first / name, seed)
        save(second / name, seed + 10 * seed)
    return first, second


def run(cache: Path, *arguments: object) -> int:
    try:
        main(["metrics", *map(str, arguments), "--cache-dir", str(cache), "--device", "cpu"])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.weights
def test_every_pair_and_the_mean_are_told(
    tmp_path: Path, cache_with_zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = folders(tmp_path)
    out = tmp_path / "rows.json"
    assert run(cache_with_zoo, first, second, "--out", out) == 0
    said = capsys.readouterr().out
    assert "one.png: psnr inf  ssim 1.0000  perceptual" in said
    assert "mean of 2:" in said
    told = json.loads(out.read_text())
    assert [row["file"] for row in told["rows"]] == ["deep/two.png", "one.png"]
    assert told["rows"][1]["psnr"] is None, "equal pictures"
    assert 7 < told["rows"][0]["psnr"] < 9, "two random pictures"
    assert told["rows"][0]["perceptual_name"] == "mobilenetv2 feature distance"
    assert "lpips" not in told["rows"][0]
    assert told["not_compared"] == []


@pytest.mark.weights
def test_names_and_sizes_that_differ_are_named_and_fail(
    tmp_path: Path, cache_with_zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = folders(tmp_path)
    save(first / "only.png", 5)
    save(second / "other.png", 5)
    save(first / "size.png", 6)
    save(second / "size.png", 6, (48, 41))
    save(first / "small.png", 6, (5, 5))
    save(second / "small.png", 6, (5, 5))
    (first / "broken.png").write_bytes(b"no picture")
    save(second / "broken.png", 7)
    out = tmp_path / "rows.csv"
    assert run(cache_with_zoo, first, second, "--out", out) == 1
    said = capsys.readouterr().err
    for words in (
        "'only.png' is in",
        "'other.png' is in",
        "'size.png' has 40×48 pixels, but 41×48",
        "'small.png' has 5×5 pixels",
        "'broken.png': It is no picture",
    ):
        assert words in said
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert [row["file"] for row in rows] == ["deep/two.png", "one.png", "mean"]


def test_a_missing_folder_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = folders(tmp_path)
    assert run(tmp_path / "cache", first, tmp_path / "none") == 1
    assert "There is no folder" in capsys.readouterr().err


def test_folders_without_a_common_name_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a" / "x.png", 0)
    save(tmp_path / "b" / "y.png", 0)
    assert run(tmp_path / "cache", tmp_path / "a", tmp_path / "b") == 1
    assert "not compared: 'x.png' is in" in capsys.readouterr().err
