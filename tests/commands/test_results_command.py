"""`rosetta`, `unit`, `report`, `export`, `bundle` and `cache`, as a person types them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
import typer
from typer.testing import CliRunner, Result

from rosetta_ui.commands import results
from rosetta_ui.errors import BadRequestError, RosettaError, StoreError, UnknownModelError
from rosetta_ui.matching import answers
from rosetta_ui.store.results import ResultFolder, ResultShelf
from rosetta_ui.store.store import Store
from rosetta_ui.types import Selection
from tests.store.synthetic import ANCHOR, planted, write_planted

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("commands") / "result", planted())


def run(*arguments: object) -> Result:
    app = typer.Typer()
    results.mount(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def refused(error: type[RosettaError], *arguments: object) -> str:
    done = run(*arguments)
    assert isinstance(done.exception, error), done.output + repr(done.exception)
    assert "\n" not in done.exception.sentence
    return done.exception.sentence


def test_rosetta_lists_neurons_with_partners_scores_and_nulls(folder: ResultFolder) -> None:
    text = said("rosetta", folder.path)
    found = answers.neurons(folder, Selection())
    assert f"{len(found)} Rosetta Neurons of 12 units" in text
    for neuron in found:
        assert str(neuron.anchor) in text
        for partner in neuron.partners.values():
            assert f"null {partner.null:.3f}" in text
            assert str(partner.unit) in text
    first = text.index(str(found[0].anchor))
    assert first < text.index(str(found[-1].anchor)), "best first"
    assert "above null" in text
    assert "no better than chance" in text
    assert text.count("rank") == 2 * len(found)
    assert said("rosetta", folder.path, "--top", 1).count("rank") == 2


def test_rosetta_json_is_the_agreed_schema(folder: ResultFolder) -> None:
    told = json.loads(said("rosetta", folder.path, "--json"))
    assert set(told) == {"schema", "neurons"}
    assert told["schema"] == 1
    for neuron in told["neurons"]:
        assert set(neuron) == {
            *("anchor", "partners", "score_min", "null_min", "above_null", "concept")
        }
        for partner in neuron["partners"].values():
            assert set(partner) == {"unit", "score", "null", "rank"}


def test_rosetta_takes_every_choice(folder: ResultFolder) -> None:
    def anchors(*options: object) -> list[str]:
        told = json.loads(said("rosetta", folder.path, "--json", *options))
        return [neuron["anchor"] for neuron in told["neurons"]]

    for rule in ("published", "mutual", "clique"):
        for k in (1, 3):
            expected = answers.neurons(folder, Selection(rule, k, "centred"))
            assert anchors("--rule", rule, "--k", k, "--score", "centred") == [
                str(neuron.anchor) for neuron in expected
            ]
    assert len(anchors("--above-null")) < len(anchors())
    assert 0 < len(anchors("--lowest", 0.8)) < len(anchors())
    assert "No neuron passes" in said("rosetta", folder.path, "--lowest", 1)


def test_units_are_converted_both_ways(folder: ResultFolder) -> None:
    spelled = f"{ANCHOR}/high:2"
    assert said("unit", folder.path, spelled).startswith(f"{spelled}  =  7 of {ANCHOR}'s 12 units")
    every = said("unit", folder.path, "7").splitlines()
    assert every[0].startswith(f"{spelled}  =  7")
    assert every[1].startswith("tiny-a/top:1  =  7")
    assert len(every) == 3
    assert len(said("unit", folder.path, "11").splitlines()) == 2, "tiny-b has only 10 units"
    one = json.loads(said("unit", folder.path, "7", "--model", "tiny-a", "--json"))
    assert one == [{"unit": "tiny-a/top:1", "model": "tiny-a", "flat": 7}]
    assert "not a unit" in refused(BadRequestError, "unit", folder.path, "seven")
    assert "No model has a unit 99" in refused(BadRequestError, "unit", folder.path, "99")
    refused(BadRequestError, "unit", folder.path, "12", "--model", ANCHOR)
    refused(UnknownModelError, "unit", folder.path, "nobody/x:1")


def test_the_report_is_told_in_words_and_as_json(folder: ResultFolder) -> None:
    text = said("report", folder.path, "--rule", "mutual", "--k", 3)
    for words in ("best buddies", "shuffled", "threshold", "halves", "after", "excess kurtosis"):
        assert words in text
    assert f"{ANCHOR} × tiny-a (15 units, 1 dead)" in text
    told = json.loads(said("report", folder.path, "--rule", "mutual", "--k", 3, "--json"))
    assert told == answers.report(folder, Selection("mutual", 3))


def test_export_writes_what_the_name_says(folder: ResultFolder, tmp_path: Path) -> None:
    found = answers.neurons(folder, Selection())
    cache, out = ("--cache-dir", tmp_path / "cache"), tmp_path / "out"
    out.mkdir()
    for name in ("d.json", "d.csv", "d.parquet"):
        text = said("export", folder.path, "--out", out / name, *cache)
        assert f"{len(found)} neurons written" in text
    told = json.loads((out / "d.json").read_text())
    assert len(told["neurons"]) == len(found)
    with (out / "d.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * len(found)
    assert pyarrow.parquet.read_table(out / "d.parquet").num_rows == 2 * len(found)
    sentence = refused(BadRequestError, "export", folder.path, "--out", out / "d.xlsx")
    assert ".json, .csv, .parquet, .zip" in sentence
    assert sorted(path.name for path in out.iterdir()) == ["d.csv", "d.json", "d.parquet"]


def test_bundle_makes_a_small_folder_that_every_command_reads(folder, tmp_path) -> None:
    out = tmp_path / "dictionaries" / "tiny"
    text = said("bundle", folder.path, "--out", out, "--k", 3, "--images", 4)
    assert "in all:" in text
    packed = json.loads(said("rosetta", out, "--json", "--k", 3))
    full = json.loads(said("rosetta", folder.path, "--json", "--k", 3))
    assert [n["anchor"] for n in packed["neurons"]] == [n["anchor"] for n in full["neurons"]]
    assert "Rosetta Neurons" in said("report", out, "--k", 3)
    assert said("unit", out, "7") == said("unit", folder.path, "7")
    sentence = refused(
        StoreError, "bundle", folder.path, "--out", out, "--k", 3, "--limit-mib", 0.001
    )
    assert "Take fewer --images" in sentence
    refused(BadRequestError, "bundle", folder.path, "--out", out, "--images", 0)


@pytest.mark.parametrize(
    "options",
    [
        ("--k", "0"),
        ("--k", "6"),
        ("--rule", "nearest"),
        ("--score", "cosine"),
        ("--score", "published"),
        ("--q", "0"),
        ("--q", "1.5"),
    ],
)
def test_bad_choices_are_one_sentence(folder: ResultFolder, options: tuple[str, str]) -> None:
    assert refused(BadRequestError, "rosetta", folder.path, *options).endswith(".")


def test_no_result_is_one_sentence(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert "no finished result" in refused(StoreError, "rosetta", tmp_path)
    assert "no result folder" in refused(StoreError, "rosetta", tmp_path / "nothing")
    sentence = refused(StoreError, "rosetta", "nothing", "--cache-dir", cache)
    assert "There is no result 'nothing'" in sentence
    for id_ in ("..", ".", "~", "a b", "$HOME"):
        refused(StoreError, "rosetta", id_, "--cache-dir", cache)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with two results, one of them saved, and one other entry."""
    with Store(tmp_path / "cache", 1 << 30) as store:
        for key in ("aaa", "bbb"):
            made = write_planted(store.new_folder(), planted(images=8), cross=False)
            store.commit_folder(key, made.path)
        shelf = ResultShelf(store)
        shelf.keep("aaa", True)
        shelf.rename("aaa", "My best match")
        store.put("ccc", {"x": planted(images=2).maps[ANCHOR]}, "heatmaps")
    return tmp_path / "cache"


def test_cache_ls_lists_results_and_entries(cache: Path) -> None:
    text = said("cache", "ls", "--cache-dir", cache)
    assert "My best match" in text
    assert "3 entries" in text
    told = {e["key"]: e for e in json.loads(said("cache", "ls", "--cache-dir", cache, "--json"))}
    assert {key: (e["kind"], e["saved"]) for key, e in told.items()} == {
        "aaa": ("result", True),
        "bbb": ("result", False),
        "ccc": ("heatmaps", False),
    }
    assert told["bbb"]["title"].startswith(f"{ANCHOR} × tiny-a, tiny-b")
    assert said("rosetta", "aaa", "--cache-dir", cache)


def test_cache_prune_keeps_what_was_saved(cache: Path) -> None:
    assert "0 entries dropped" in said("cache", "prune", "--cache-dir", cache)
    assert "2 entries dropped" in said("cache", "prune", "--cache-dir", cache, "--budget-gb", 0)
    assert [e["key"] for e in json.loads(said("cache", "ls", "--cache-dir", cache, "--json"))] == [
        "aaa"
    ]
    for budget in ("-1", "nan"):
        refused(BadRequestError, "cache", "prune", "--cache-dir", cache, f"--budget-gb={budget}")


def test_the_commands_load_no_torch(folder: ResultFolder) -> None:
    code = (
        "import sys, typer; from rosetta_ui.commands import results; app = typer.Typer(); "
        "results.mount(app); app(sys.argv[1:], standalone_mode=False); "
        "sys.exit(bool({'torch', 'timm', 'gradio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(folder.path), "--json"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["anchor"] == ANCHOR
