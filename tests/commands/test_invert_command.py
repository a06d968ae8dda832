"""`invert` from a file to a picture, a recipe and numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.cli import main
from rosetta_ui.editing.recipe import recipe_state


def run(cache: Path, *arguments: object) -> int:
    try:
        main(["invert", *map(str, arguments), "--cache-dir", str(cache), "--device", "cpu"])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    values = np.zeros((60, 40, 3), np.uint8)
    values[10:40, 8:32] = (220, 180, 150)
    path = tmp_path / "me.png"
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small bank of natural samples: what it costs is measured elsewhere."""
    from rosetta_ui.engine import inverting_work

    monkeypatch.setattr(inverting_work, "bank_size", lambda _generator: 64)


@pytest.mark.weights
@pytest.mark.usefixtures("few")
def test_a_picture_a_recipe_and_numbers_come_out(
    tmp_path: Path, cache_with_zoo: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    options = ["--neurons", 0, "--pixels", 1, "--perceptual", 0.1, "--steps", 20, "--restarts", 2]
    assert run(cache_with_zoo, picture, "--out", out, *options, "--crop", "0.5,0.4,1") == 0
    said = capsys.readouterr().out
    assert "PSNR" in said
    assert "mobilenetv2 feature distance" in said
    assert np.asarray(Image.open(out)).shape == (64, 64, 3)
    recipe = json.loads(out.with_suffix(".json").read_text())
    assert recipe["inversion"]["steps"] == 20
    assert recipe_state(recipe).latents.values.shape == (1, 100)
    assert "me.png" not in out.with_suffix(".json").read_text()


def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "words.png"
    text.write_text("words")
    for arguments, said in (
        ([tmp_path / "none.png"], "none.png' cannot be read"),
        ([text], "no picture"),
        ([picture, "--preset", "oil"], "no preset 'oil'"),
        ([picture, "--crop", "1,2"], "--crop is '1,2'"),
        ([picture, "--steps", "0"], "0 steps"),
        ([picture, "--space", "y"], "unknown"),
        ([picture, "--neurons", 0, "--pixels", 0, "--perceptual", 0], "all weights are 0"),
        ([picture, "--classes", "a,b"], "--classes is 'a,b'"),
        ([picture, "--generator", "nobody"], "no generator called 'nobody'"),
    ):
        assert run(tmp_path / "cache", *arguments) == 1, arguments
        assert said in capsys.readouterr().err
