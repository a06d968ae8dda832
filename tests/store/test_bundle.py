"""A bundle carries a whole result; hostile zips are refused before anything of them is used."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.errors import StoreError
from rosetta_ui.matching import answers
from rosetta_ui.store.dictionary import Dictionary
from rosetta_ui.store.importing import DICTIONARY, FOLDER, is_zip, make_bundle, read_bundle
from rosetta_ui.store.results import ResultFolder
from rosetta_ui.types import Selection
from tests.store.synthetic import ANCHOR, planted, write_planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("bundle") / "full", planted())


@pytest.fixture(scope="module")
def bundle(folder: ResultFolder, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    selection = Selection()
    found = tuple(answers.neurons(folder, selection))
    names = {str(found[0].anchor): "fringe"}
    dictionary = Dictionary(
        *(folder.record, selection, found, (), answers.summary(folder, "", selection)),
        favourites=names,
    )
    work = tmp_path_factory.mktemp("bundle") / "work"
    return make_bundle(folder, found, dictionary, work)


def rezipped(data: bytes, change: Callable[[zipfile.ZipFile, dict[str, bytes]], None]) -> bytes:
    """The same bundle with its files changed: `change` writes whatever it wants to."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        files = {name: old.read(name) for name in old.namelist()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        change(new, files)
        for name, content in files.items():
            new.writestr(name, content)
    return out.getvalue()


def test_a_bundle_brings_the_whole_result(
    folder: ResultFolder, bundle: bytes, tmp_path: Path
) -> None:
    assert is_zip(bundle)
    result, dictionary = read_bundle(bundle, tmp_path)
    assert list(dictionary.favourites.values()) == ["fringe"]
    for rule in ("published", "mutual"):
        for score in ("pearson", "centred"):
            selection = Selection(rule=rule, score=score, k=3)
            ours, theirs = (answers.neurons(f, selection) for f in (result, folder))
            assert {n.anchor for n in ours} == {n.anchor for n in theirs}
            ours, theirs = (sorted(each, key=lambda n: n.anchor) for each in (ours, theirs))
            for a, b in zip(ours, theirs, strict=True):
                assert a.score_min == pytest.approx(b.score_min, abs=1e-4)
                assert a.null_min == pytest.approx(b.null_min, abs=1e-4)
    assert result.record.previews == folder.record.previews
    assert np.abs(result.preview(3).astype(int) - folder.preview(3)).mean() < 8
    views, whole = result.views(), folder.views()
    assert views is not None
    assert whole is not None
    row = views.models[ANCHOR].maps[0].astype(int)
    known = whole.models[ANCHOR].row(int(views.models[ANCHOR].units[0]))
    assert np.abs(row - whole.models[ANCHOR].maps[known]).mean() < 12
    assert not (tmp_path / DICTIONARY).exists()


def test_the_same_result_makes_the_same_bundle(bundle: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(bundle)) as made:
        assert {entry.date_time for entry in made.infolist()} == {(2020, 1, 1, 0, 0, 0)}
        assert all(name == DICTIONARY or name.startswith(FOLDER) for name in made.namelist())


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "/etc/passwd",
        "result/../../evil.json",
        "result/sub/result.json",
        "result\\..\\evil.json",
        "result/evil.py",
        "result/.partial-x",
        "result/dictionary.json",
        "C:/evil.json",
        "",
    ],
)
def test_a_file_that_does_not_belong_there_is_refused(
    bundle: bytes, tmp_path: Path, name: str
) -> None:
    def add(new: zipfile.ZipFile, _files: dict[str, bytes]) -> None:
        new.writestr(zipfile.ZipInfo(name or "x/"), b"evil")

    into = tmp_path / "a" / "b"
    into.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError):
        read_bundle(rezipped(bundle, add), into)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_is_refused(bundle: bytes, tmp_path: Path) -> None:
    def link(new: zipfile.ZipFile, _files: dict[str, bytes]) -> None:
        entry = zipfile.ZipInfo("result/NOTICE.txt")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        new.writestr(entry, "/etc/passwd")

    def bare(new: zipfile.ZipFile, files: dict[str, bytes]) -> None:
        del files["result/NOTICE.txt"]
        link(new, files)

    with pytest.raises(StoreError, match="does not belong"):
        read_bundle(rezipped(bundle, bare), tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(bundle: bytes, tmp_path: Path) -> None:
    def twice(new: zipfile.ZipFile, files: dict[str, bytes]) -> None:
        new.writestr("result/NOTICE.txt", files["result/NOTICE.txt"])

    with pytest.raises(StoreError, match="does not belong"):
        read_bundle(rezipped(bundle, twice), tmp_path)


def test_a_changed_file_is_found_by_its_digest(bundle: bytes, tmp_path: Path) -> None:
    def change(_new: zipfile.ZipFile, files: dict[str, bytes]) -> None:
        name = next(n for n in files if n.startswith("result/neighbours-"))
        files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])

    with pytest.raises(StoreError, match="damaged"):
        read_bundle(rezipped(bundle, change), tmp_path)


def test_a_file_that_the_result_does_not_name_is_refused(bundle: bytes, tmp_path: Path) -> None:
    def add(new: zipfile.ZipFile, _files: dict[str, bytes]) -> None:
        new.writestr("result/pairs.csv", b"anchor,partner\n")

    with pytest.raises(StoreError, match=r"not its result's: 'pairs\.csv'"):
        read_bundle(rezipped(bundle, add), tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(
    bundle: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_ui.store.importing.MOST_UNPACKED", 1_000_000)

    def bomb(new: zipfile.ZipFile, files: dict[str, bytes]) -> None:
        del files["result/NOTICE.txt"]
        new.writestr("result/NOTICE.txt", bytes(2_000_000), zipfile.ZIP_DEFLATED)

    with pytest.raises(StoreError, match="too large"):
        read_bundle(rezipped(bundle, bomb), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_lies_about_its_size_is_refused(bundle: bytes, tmp_path: Path) -> None:
    # The directory's copy of the size says 8; the file itself is longer.
    with zipfile.ZipFile(io.BytesIO(bundle)) as old:
        entry = old.getinfo(DICTIONARY)
    at = bundle.rindex(DICTIONARY.encode()) - 46
    assert bundle[at : at + 4] == b"PK\x01\x02"
    lie = bundle[: at + 24] + (8).to_bytes(4, "little") + bundle[at + 28 :]
    assert entry.file_size > 8
    with pytest.raises(StoreError):
        read_bundle(lie, tmp_path)


@pytest.mark.parametrize("cut", [4, 100, -30])
def test_a_bundle_that_is_cut_short_is_refused(bundle: bytes, tmp_path: Path, cut: int) -> None:
    with pytest.raises(StoreError):
        read_bundle(bundle[:cut], tmp_path)


def test_a_zip_of_something_else_is_said(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as other:
        other.writestr(DICTIONARY, json.dumps({"schema": 1}))
    with pytest.raises(StoreError, match="no bundle"):
        read_bundle(out.getvalue(), tmp_path)
