from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.store.results import ResultShelf
from rosetta_ui.store.store import Store
from tests.store.synthetic import ANCHOR, planted, write_planted


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(
        tmp_path_factory.mktemp("shelf") / "result", planted(images=8), cross=False
    ).path


def add(store: Store, original: Path, key: str, created: float) -> None:
    folder = store.new_folder()
    shutil.copytree(original, folder, dirs_exist_ok=True)
    told = json.loads((folder / "result.json").read_text())
    told["created"] = created
    (folder / "result.json").write_text(json.dumps(told))
    store.commit_folder(key, folder)


@pytest.fixture
def store(tmp_path: Path, original: Path) -> Iterator[Store]:
    with Store(tmp_path / "cache", 1 << 30) as opened:
        for key, created in (("first", 1000.0), ("third", 3000.0), ("second", 2000.0)):
            add(opened, original, key, created)
        yield opened


@pytest.fixture
def bundled(tmp_path: Path, original: Path) -> Path:
    shutil.copytree(original, tmp_path / "assets" / "faces")
    (tmp_path / "assets" / "logo.svg").write_text("<svg/>")
    return tmp_path / "assets"


@pytest.fixture
def shelf(store: Store, bundled: Path) -> ResultShelf:
    return ResultShelf(store, [bundled])


def ids(shelf: ResultShelf) -> list[str]:
    return [info.result for info in shelf.list()]


def test_bundled_results_come_first_then_the_newest(shelf: ResultShelf) -> None:
    listed = shelf.list()
    assert [info.result for info in listed] == ["faces", "third", "second", "first"]
    assert [info.bundled for info in listed] == [True, False, False, False]
    assert listed[1].created == 3000
    assert listed[1].request.generator == ANCHOR
    assert listed[1].title.startswith(ANCHOR)
    assert listed[1].bytes > 10_000
    assert shelf.info("faces") == listed[0]


def test_the_bundled_result_that_is_named_leads_the_others(
    store: Store, bundled: Path, original: Path
) -> None:
    shutil.copytree(original, bundled / "cars")
    shutil.copytree(original, bundled / "trees")
    assert ids(ResultShelf(store, [bundled]))[:3] == ["cars", "faces", "trees"]
    assert ids(ResultShelf(store, [bundled], first="faces"))[:3] == ["faces", "cars", "trees"]


def test_other_entries_of_the_store_are_no_results(shelf: ResultShelf, store: Store) -> None:
    store.put("maps", {"x": planted(images=2).maps[ANCHOR]}, "heatmaps")
    assert "maps" not in ids(shelf)
    with pytest.raises(StoreError, match="There is no result 'maps'"):
        shelf.open("maps")


def test_an_unchanged_result_is_opened_once(shelf: ResultShelf, store: Store) -> None:
    assert shelf.open("first") is shelf.open("first")
    before = shelf.open("first")
    path = store.root / "results" / "first" / "result.json"
    told = json.loads(path.read_text())
    told["title"] = "Changed"
    path.write_text(json.dumps(told))
    after = shelf.open("first")
    assert after is not before
    assert after.record.title == "Changed"


def test_a_damaged_result_is_left_out_and_logged(
    shelf: ResultShelf, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    (store.root / "results" / "second" / "result.json").write_text("{")
    (store.root / "results" / "first" / "pairs.csv").unlink()
    with caplog.at_level(logging.WARNING):
        assert ids(shelf) == ["faces", "third"]
    assert "Result second is left out" in caplog.text
    assert "pairs.csv" in caplog.text
    with pytest.raises(StoreError, match="not valid JSON"):
        shelf.open("second")


def test_saving_takes_a_result_out_of_the_budget(shelf: ResultShelf, store: Store) -> None:
    shelf.keep("second", True)
    assert {info.result for info in shelf.list() if info.saved} == {"second"}
    store.prune(0)
    assert ids(shelf) == ["faces", "second"]
    shelf.keep("second", False)
    store.prune(0)
    assert ids(shelf) == ["faces"]


def test_a_title_survives_a_new_shelf_and_a_lost_index(
    shelf: ResultShelf, store: Store, bundled: Path
) -> None:
    shelf.rename("first", "  Eyes   and mouths ")
    shelf.keep("first", True)
    root = store.root
    store.close()
    shutil.rmtree(root / "index")
    with Store(root, 1 << 30) as again:
        titles = {i.result: (i.title, i.saved) for i in ResultShelf(again, [bundled]).list()}
        assert titles["first"] == ("Eyes and mouths", True)


@pytest.mark.parametrize("title", ["", "   ", "x" * 121, "a\x00b"])
def test_bad_titles_are_refused(shelf: ResultShelf, title: str) -> None:
    with pytest.raises(BadRequestError, match="1 to 120"):
        shelf.rename("first", title)


def test_deleting_removes_the_folder(shelf: ResultShelf, store: Store) -> None:
    shelf.open("first")
    shelf.delete("first")
    assert ids(shelf) == ["faces", "third", "second"]
    assert not (store.root / "results" / "first").exists()
    with pytest.raises(StoreError, match="There is no result 'first'"):
        shelf.open("first")


def test_bundled_and_foreign_results_are_left_alone(shelf: ResultShelf, original: Path) -> None:
    for result in ("faces", str(original)):
        for change in (
            lambda r: shelf.delete(r),
            lambda r: shelf.rename(r, "Mine"),
            lambda r: shelf.keep(r, True),
        ):
            with pytest.raises(BadRequestError):
                change(result)
    assert shelf.open(str(original)).anchor == ANCHOR
    assert original.is_dir()


def test_paths_are_taken_only_where_they_are_allowed(store: Store, original: Path) -> None:
    closed = ResultShelf(store, paths=False)
    for result in (str(original), "../results/first", "..", "", "/etc", "a\\b"):
        with pytest.raises(StoreError):
            closed.open(result)
