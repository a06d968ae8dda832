"""`python -m rosetta_ui edit`: the page's pictures, recipes, plain sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from rosetta_ui.commands import edit as command
from rosetta_ui.edits import Blend, EditRequest, Paste, Region, Scale, Shift, Trying, Zoom
from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError
from rosetta_ui.settings import Settings
from rosetta_ui.types import Unit

PROJECT = Path(__file__).resolve().parent.parent.parent
MODELS = PROJECT / "tests" / "matching" / "shared_models.py"


def run(folder: Path, *arguments: object) -> None:
    """The command in this process; raises what `cli.main` turns into a sentence."""
    app = typer.Typer()
    command.mount(app)
    app.command("other")(lambda: None)  # with one command alone, typer would take no name
    fixed = ("--models", MODELS, "--cache-dir", folder / "cache", "--device", "cpu", "--no-judge")
    app(["edit", *map(str, arguments), *map(str, fixed)], standalone_mode=False)


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_command_gives_the_engines_picture_and_replays_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "a.png", tmp_path / "b.png"
    which = ("--generator", "planted-gan", "--seed", 4)
    run(tmp_path, *which, "--shift", "0.25,0", "--zoom", "1.2", "--steps", 6, "--out", first)
    recipe = json.loads(first.with_suffix(".json").read_text())
    assert recipe["seed"] == 4
    assert [e["kind"] for e in recipe["steps"][0]["edits"]] == ["shift", "zoom"]
    capsys.readouterr()
    run(tmp_path, "--recipe", first.with_suffix(".json"), "--out", again)
    assert np.array_equal(picture(first), picture(again))
    assert "another machine" not in capsys.readouterr().out

    settings = Settings(cache_dir=tmp_path / "cache", device="cpu", models_file=str(MODELS))
    with Engine(settings) as engine:
        state, _ = engine.editing.start_picture("planted-gan", 4)
        asked = EditRequest((Shift(0.25), Zoom(1.2)), trying=Trying(steps=6))
        *_, last = engine.editing.edit(state, asked)
    assert last.picture is not None
    assert np.array_equal(last.picture, picture(first))


def test_units_are_changed_one_after_the_other(tmp_path: Path) -> None:
    out = tmp_path / "units.png"
    which = ("--generator", "planted-gan", "--steps", 4, "--out", out)
    run(
        tmp_path, *which, "--unit", "planted-gan/fine:0*0", "--unit", "planted-gan/fine:3*2@0,0,1,1"
    )
    recipe = json.loads(out.with_suffix(".json").read_text())
    assert [step["units"] for step in recipe["steps"]] == [{"fine": [0]}, {"fine": [3]}]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--shift", "right"),
        ("--shift", "0.1"),
        ("--shift", "0.1,nan"),
        ("--zoom", "1.2@0.5"),
        ("--paste", "0.1,0.1,0.2,0.2"),
        ("--paste", "3:0.1,0.1,0.2,0.2"),
        ("--paste", "missing.png:0.1,0.1,0.2,0.2>0.3,0.3"),
        ("--blend", "7"),
        ("--blend", "7@1.5"),
        ("--shift", "0.1,0", "--steps", "1", "--film", "film.mp4"),
        ("--unit", "planted-gan/fine:0"),
        ("--unit", "nonsense*2"),
        ("--shift", "0.1,0", "--units", "all of them"),
        ("--shift", "0.1,0", "--coarse-first"),
        ("--shift", "0.1,0", "--space", "v"),
        ("--shift", "0.1,0", "--space", "w"),
        ("--shift", "0.1,0", "--class", "3"),
        ("--shift", "0.1,0", "--seed", "-1"),
        ("--recipe", "missing.json"),
        ("--shift", "0.1,0", "--steps", "1", "--out", "picture.exe"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, arguments: Any) -> None:
    with pytest.raises(BadRequestError):
        run(tmp_path, "--generator", "planted-gan", *arguments)


def test_options_are_read_as_documented() -> None:
    box = Region.box(0.2, 0.2, 0.6, 0.6)
    assert command.paste_of("7:0.2,0.2,0.6,0.6>0.3,0.1") == (Paste(box, 0.3, 0.1), "7")
    assert command.paste_of(":0.2,0.2,0.6,0.6>0.3,0.1,0.7,0.5") == (Paste(box, 0.3, 0.1), "")
    unit = Unit("dcgan-digiface", "main.8", 17)
    assert command.strength_of("dcgan-digiface/main.8:17*0") == (unit, Scale(0.0))
    assert command.strength_of("dcgan-digiface/main.8:17*2@0.2,0.2,0.6,0.6") == (
        unit,
        Scale(2.0, box),
    )
    copied, source = command.paste_of("some:dir/a.json:0.2,0.2,0.6,0.6>0.3,0.1")
    assert source == "some:dir/a.json"
    assert copied == Paste(box, 0.3, 0.1)
    assert command.blend_of("7@0.25") == EditRequest((Blend(0.25),), source_seed=7)
    assert command.choice_of("active@0.5,0.25").y == 0.25


def test_another_picture_may_be_a_kept_one_but_not_a_photo(tmp_path: Path) -> None:
    kept, out = tmp_path / "kept.png", tmp_path / "out.png"
    which = ("--generator", "planted-gan", "--steps", 4)
    run(tmp_path, *which, "--seed", 4, "--mirror", "--out", kept)
    for source in (kept, kept.with_suffix(".json")):
        run(tmp_path, *which, "--paste", f"{source}:0,0,0.5,1>0.5,0", "--out", out)
        recipe = json.loads(out.with_suffix(".json").read_text())
        assert recipe["steps"][0]["source"]["seed"] == 4
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    with pytest.raises(BadRequestError, match=r"Invert it first|no neurons"):
        run(tmp_path, *which, "--paste", f"{photo}:0,0,0.5,1>0.5,0", "--out", out)


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_a_blend_and_its_film_are_written(tmp_path: Path, kind: str) -> None:
    out, film = tmp_path / "out.png", tmp_path / f"film.{kind}"
    run(tmp_path, "--generator", "planted-gan", "--blend", "7@0.5", "--out", out, "--film", film)
    with Image.open(film) as found:
        assert getattr(found, "n_frames", 1) == 13
    recipe = json.loads(out.with_suffix(".json").read_text())
    assert recipe["steps"][0]["edits"] == [{"kind": "blend", "share": 0.5}]
