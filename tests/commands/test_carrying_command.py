"""`results` and the files of `export` that it takes: from one installation to another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from rosetta_ui.commands import carrying, results
from rosetta_ui.errors import StoreError
from rosetta_ui.store.results import ResultFolder
from rosetta_ui.store.store import Store
from tests.store.synthetic import planted, write_planted

PROJECT = Path(__file__).resolve().parents[2]
CHOICE = ("--rule", "mutual", "--k", "3", "--score", "centred")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("carrying") / "result", planted())


def run(*arguments: object) -> Result:
    app = typer.Typer()
    results.mount(app)
    carrying.mount(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


@pytest.mark.parametrize("kind", ["json", "zip"])
def test_what_export_writes_is_imported_elsewhere(
    folder: ResultFolder, tmp_path: Path, kind: str
) -> None:
    out, there = tmp_path / f"tiny.{kind}", tmp_path / "there"
    said("export", folder.path, "--out", out, *CHOICE, "--cache-dir", tmp_path / "here")
    text = said("results", "import", out, "--cache-dir", there)
    assert ("keeps no tables" in text) == (kind == "json")
    made = text.rpartition("Result ")[2].strip()
    ours = json.loads(said("rosetta", made, "--json", *CHOICE, "--cache-dir", there))
    theirs = json.loads(said("rosetta", folder.path, "--json", *CHOICE))
    assert [n["anchor"] for n in ours["neurons"]] == [n["anchor"] for n in theirs["neurons"]]
    for mine, given in zip(ours["neurons"], theirs["neurons"], strict=True):
        assert mine["score_min"] == pytest.approx(given["score_min"], abs=1e-4)
    listed = said("results", "ls", "--cache-dir", there)
    assert any(line.startswith(made) for line in listed.splitlines())
    with Store(there, 1 << 30) as store:
        entry = store.entry(made)
        assert entry is not None
        assert entry.saved
    again = said("results", "import", out, "--cache-dir", there)
    assert again == text, "the same file is the same result"


def test_a_dictionary_of_the_strongest_only_is_imported_too(
    folder: ResultFolder, tmp_path: Path
) -> None:
    out = tmp_path / "strong.json"
    options = (*CHOICE, "--above-null", "--lowest", "0.5")
    said("export", folder.path, "--out", out, *options, "--cache-dir", tmp_path / "here")
    listed = json.loads(out.read_text())["neurons"]
    whole = json.loads(said("rosetta", folder.path, "--json", *CHOICE))["neurons"]
    assert 0 < len(listed) < len(whole)
    said("results", "import", out, "--cache-dir", tmp_path / "there")


def test_names_in_a_file_are_told_of(folder: ResultFolder, tmp_path: Path) -> None:
    out = tmp_path / "named.json"
    said("export", folder.path, "--out", out, "--cache-dir", tmp_path / "here")
    told = json.loads(out.read_text())
    told["favourites"] = {told["neurons"][0]["anchor"]: "fringe"}
    out.write_text(json.dumps(told))
    text = said("results", "import", out, "--cache-dir", tmp_path / "there")
    assert "1 favourites and names" in text


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"\x80\x04.", b"<html>", b"{}"])
def test_other_files_are_refused_in_a_sentence_and_leave_nothing(
    tmp_path: Path, data: bytes
) -> None:
    given, there = tmp_path / "given.json", tmp_path / "there"
    given.write_bytes(data)
    done = run("results", "import", given, "--cache-dir", there)
    assert isinstance(done.exception, StoreError), done.output
    assert "\n" not in done.exception.sentence
    with Store(there, 1 << 30) as store:
        assert not [entry for entry in store.entries() if entry.kind == "result"]


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "MOST_BYTES", 10)
    given = tmp_path / "given.json"
    given.write_bytes(b"{" + b" " * 20)
    done = run("results", "import", given, "--cache-dir", tmp_path / "there")
    assert isinstance(done.exception, StoreError)
    assert "at most 10 are taken" in done.exception.sentence
    assert run("results", "import", tmp_path / "nothing.json").exit_code == 2


def test_carrying_loads_no_torch(folder: ResultFolder, tmp_path: Path) -> None:
    code = (
        "import sys; from rosetta_ui.cli import app; "
        "app(sys.argv[1:], standalone_mode=False); "
        "sys.exit(bool({'torch', 'timm', 'gradio'} & set(sys.modules)))"
    )
    out, cache = tmp_path / "tiny.json", ("--cache-dir", str(tmp_path / "cache"))
    for arguments in (
        ("export", str(folder.path), "--out", str(out), *cache),
        ("results", "import", str(out), *cache),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
