"""`zoo add` as a person types it, up to a match with what was added."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from rosetta_ui.commands import match, results, zoo, zoo_add
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.registry import build_registry
from rosetta_ui.models.weights import WeightStore

PROJECT = Path(__file__).resolve().parents[2]
VECTORS = PROJECT / "tests" / "vectors"
STYLEGAN3 = VECTORS / "stylegan3_r_a" / "official.pkl"

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command with a cache folder of its own."""
    models, app = typer.Typer(), typer.Typer()
    models.command("list")(zoo.list_models)
    models.command("show")(zoo.show)
    zoo_add.mount(models)
    app.add_typer(models, name="zoo")
    match.mount(app)
    results.mount(app)

    def call(*arguments: str | Path) -> Result:
        options = ("--cache-dir", str(tmp_path / "cache"))
        return CliRunner().invoke(app, [*map(str, arguments), *options])

    return call


def test_add_says_what_was_added_and_under_which_terms(run: Run, tmp_path: Path) -> None:
    done = run("zoo", "add", "stylegan3-afhq", STYLEGAN3)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "cache" / "zoo" / "added" / "stylegan3-afhq"
    assert f"stylegan3-afhq  ready  {folder / 'weights.safetensors'}" in done.stdout
    assert "64 × 64 px, 862 units" in done.stdout
    assert "NVIDIA Source Code License-NC" in done.stdout
    assert "Research and evaluation only" in done.stdout
    assert "Converting official.pkl" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "facts.json",
        "weights.safetensors",
    ]
    listed = {row["name"]: row for row in json.loads(run("zoo", "list", "--json").stdout)}
    assert listed["stylegan3-afhq"]["state"] == "ready"
    assert listed["stylegan3-ffhq"]["state"] == "add"
    shown = run("zoo", "show", "stylegan3-afhq").stdout
    assert "synthesis.L0_36_64  64 units at 16×16" in shown


def test_what_is_missing_is_shown_with_its_command(run: Run) -> None:
    shown = run("zoo", "show", "stylegan3-ffhq").stdout
    command = "python -m rosetta_ui zoo add stylegan3-ffhq stylegan3-r-ffhqu-1024x1024.pkl"
    assert command in shown


def test_options_reach_the_file(run: Run, tmp_path: Path) -> None:
    biggan = VECTORS / "biggan_deep_b" / "official_pytorch_model.bin"
    config = json.loads((biggan.parent / "official_config.json").read_text()) | {"eps": 0.25}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert run("zoo", "add", "mine", biggan, "--config", tmp_path / "c.json").exit_code == 0
    store = WeightStore(tmp_path / "cache")
    card = build_registry(store.added).card("mine")
    assert store.facts(card)["eps"] == 0.25
    again = run("zoo", "add", "mine", STYLEGAN3)
    assert isinstance(again.exception, BadRequestError)
    assert "--replace" in again.exception.hint
    assert run("zoo", "add", "mine", STYLEGAN3, "--replace").exit_code == 0
    wrong = run("zoo", "add", "other", STYLEGAN3, "--sha256", "1" * 64)
    assert "1" * 64 in str(wrong.exception)


def test_a_refusal_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rosetta_ui", "zoo", "add", "../x", str(STYLEGAN3)]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path)], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: '../x' is no name for a model.")
    assert done.stderr.count("\n") == 1


def test_a_match_of_an_added_stylegan3_with_a_random_resnet50_runs(
    run: Run, tmp_path: Path
) -> None:
    assert run("zoo", "add", "stylegan3-afhq", STYLEGAN3).exit_code == 0
    out = tmp_path / "result"
    arguments = ("--generator", "stylegan3-afhq", "--backbones", "resnet50.random", "--images", "4")
    done = run("match", *arguments, "--batch-size", "2", "--device", "cpu", "--out", out)
    assert done.exit_code == 0, done.output
    assert "stylegan3-afhq × resnet50.random: 4 images" in done.stdout
    record = json.loads((out / "result.json").read_text())
    units = {m["name"]: sum(x["channels"] for x in m["layers"]) for m in record["models"]}
    assert units == {"stylegan3-afhq": 862, "resnet50.random": 3840}
    assert "AFHQ is CC BY-NC 4.0" in record["models"][0]["terms"]
    listed = run("rosetta", out, "--top", "1")
    assert "stylegan3-afhq/synthesis." in listed.stdout
    assert "resnet50.random/layer" in listed.stdout
