from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.errors import BadRequestError, StoreError, UnknownModelError
from rosetta_ui.store.results import ModelRecord, ResultFolder, ResultWriter, quantised
from rosetta_ui.types import LayerSpec, MatchRequest
from tests.store.synthetic import (
    ANCHOR,
    BACKBONES,
    Planted,
    neighbours_of,
    planted,
    stats_of,
    views_of,
    write_planted,
)


@pytest.fixture(scope="module")
def match() -> Planted:
    return planted()


@pytest.fixture(scope="module")
def written(match: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "planted"
    write_planted(folder, match)
    return folder


@pytest.fixture
def result(written: Path) -> ResultFolder:
    return ResultFolder.open(written)


def test_everything_written_is_read_back(match: Planted, result: ResultFolder) -> None:
    assert result.anchor == ANCHOR
    assert result.backbones == list(BACKBONES)
    assert result.request.n_images == result.record.images == 24
    assert [layer for m in result.record.models for layer in m.layers] == [
        layer for layers in match.layers.values() for layer in layers
    ]
    for name in BACKBONES:
        real = match.scores(ANCHOR, name)
        for score in ("pearson", "centred"):
            whole = result.scores(ANCHOR, name, score)
            assert isinstance(whole, np.memmap)
            assert np.array_equal(whole, real.astype(np.float32))
            for which in ("real", "null", "half0", "half1", "at_n8", "at_n4", "at_n2"):
                kept = result.neighbours(ANCHOR, name, score, which)
                expected = neighbours_of(match.scores(ANCHOR, name, which), 5)
                assert kept is not None
                for part, array in kept.items():
                    assert np.array_equal(array, getattr(expected, part))
    for name, maps in match.maps.items():
        stats, expected = result.stats(name), stats_of(maps)
        assert stats is not None
        for part in ("mean", "deviation", "kurtosis", "low", "high"):
            assert np.array_equal(getattr(stats, part), getattr(expected, part), equal_nan=True)
        assert np.array_equal(result.dead(name), np.ptp(maps, (0, 2, 3)) == 0)


def test_views_and_pictures_come_back(match: Planted, result: ResultFolder) -> None:
    views = result.views()
    assert views is not None
    expected = views_of(match, np.arange(8, dtype=np.int32))
    assert np.array_equal(views.images, expected.images)
    for name, kept in views.models.items():
        assert np.array_equal(kept.maps, expected.models[name].maps)
        assert kept.row(3) == 3
        assert kept.row(len(match.maps[name][0]) - 1) is None
    for image in (0, 9):
        picture = result.preview(image)
        assert picture.shape == (64, 64, 3)
        assert (picture[..., 0] == image * 9).all(), "small pictures are kept without loss"
    with pytest.raises(BadRequestError, match="image 10"):
        result.preview(10)


def test_more_than_a_sheet_of_pictures_is_split(tmp_path: Path, match: Planted) -> None:
    writer = small_writer(tmp_path / "out")
    shades = [np.full((16, 24, 3), i, np.uint8) for i in range(150)]
    writer.add_previews(shades)
    draft = writer.draft()
    names = [name for name in draft.record.files if name.startswith("previews")]
    assert names == ["previews-1.webp", "previews-2.webp", "previews.webp"]
    for image in (0, 63, 64, 149):
        assert (draft.preview(image) == image).all()


def small_writer(folder: Path, **request: object) -> ResultWriter:
    models = [
        ModelRecord(name, "backbone", "", (LayerSpec(name, "only", 3, (4, 4)),))
        for name in ("one", "two")
    ]
    return ResultWriter(folder, MatchRequest(generator="one", **request), models)


def test_result_json_names_every_input(written: Path) -> None:
    told = json.loads((written / "result.json").read_text("utf-8"))
    assert told["schema"] == 1
    assert told["kind"] == "rosetta-result"
    assert told["anchor"] == ANCHOR
    assert told["request"]["seed"] == 0
    assert told["models"][1]["layers"][0]["name"] == "stem"
    assert told["run"]["timings"]["images_per_second"] == 12.0
    assert told["run"]["summary"]["rosetta"] >= 8
    assert told["run"]["inputs"]["digests"][ANCHOR] == ""
    listed = set(told["files"]) | {"result.json"}
    assert listed == {path.name for path in written.iterdir()}
    assert {f"scores-{name}.npy" for name in BACKBONES} < listed
    assert {f"scores-{name}-centred.npy" for name in BACKBONES} < listed
    assert {"pairs.csv", "previews.webp", f"stats-{ANCHOR}.safetensors"} < listed


def test_tables_are_plain_npy_files(written: Path, match: Planted) -> None:
    table = np.load(written / "scores-tiny-a.npy", mmap_mode="r", allow_pickle=False)
    assert table.dtype == np.float32
    assert table.shape == (12, 15)
    assert np.isneginf(table[11]).all()


def test_half_precision_tables_are_as_close_as_promised(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).uniform(-1, 1, (3, 3))
    scores[1, 1] = -np.inf
    writer = small_writer(tmp_path / "out")
    writer.add_scores("one", "two", "pearson", [scores], "float16")
    writer.add_neighbours("one", "two", "pearson", {"real": neighbours_of(scores, 2)})
    kept = writer.finish().scores("one", "two", "pearson")
    assert kept is not None
    assert kept.dtype == np.float16
    live = np.isfinite(scores)
    assert np.abs(kept[live].astype(float) - scores[live]).max() <= 2.5e-4
    assert np.isneginf(kept[1, 1])


def test_a_result_without_tables_views_and_pictures_opens(tmp_path: Path) -> None:
    writer = small_writer(tmp_path / "out")
    writer.add_neighbours("one", "two", "pearson", {"real": neighbours_of(np.eye(3), 2)})
    bare = writer.finish()
    assert bare.scores("one", "two", "pearson") is None
    assert bare.neighbours("one", "two", "pearson", "null") is None
    assert bare.row_halves("one", "two", "pearson") is None
    assert bare.views() is None
    assert bare.stats("one") is None
    assert not bare.dead("one").any()
    with pytest.raises(BadRequestError, match="No picture of image 0"):
        bare.preview(0)
    with pytest.raises(BadRequestError, match="no 'centred' scores"):
        bare.neighbours("one", "two", "centred")
    with pytest.raises(BadRequestError, match="no table of two with one"):
        bare.neighbours("two", "one", "pearson")
    with pytest.raises(UnknownModelError):
        bare.index("three")


def test_odd_model_names_stay_inside_the_folder(tmp_path: Path) -> None:
    models = [
        ModelRecord(name, "backbone", "", (LayerSpec(name, "only", 2, (4, 4)),))
        for name in ("..", "a b+c%2F`$(x)`")
    ]
    writer = ResultWriter(tmp_path / "out", MatchRequest(generator=".."), models)
    eye = np.eye(2)
    writer.add_scores("..", models[1].name, "pearson", [eye])
    writer.add_neighbours("..", models[1].name, "pearson", {"real": neighbours_of(eye, 1)})
    writer.add_dead("..", np.array([True, False]))
    folder = writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert folder.dead("..").tolist() == [True, False]
    assert folder.scores("..", models[1].name, "pearson") is not None


@pytest.mark.parametrize("bad", ["a/b", "a:b", "a\\b", "", "x\n", "y" * 301])
def test_names_that_units_cannot_carry_are_refused(tmp_path: Path, bad: str) -> None:
    models = [
        ModelRecord(name, "backbone", "", (LayerSpec(name, "only", 2, (4, 4)),))
        for name in ("one", bad)
    ]
    writer = ResultWriter(tmp_path / "out", MatchRequest(), models)
    writer.note_neighbours("one", bad, "pearson", ("real",))
    with pytest.raises(StoreError, match="should be"):
        writer.finish()
    assert not (tmp_path / "out" / "result.json").exists()


def test_an_unfinished_folder_is_never_read(tmp_path: Path, match: Planted) -> None:
    writer = small_writer(tmp_path / "out")
    writer.add_scores("one", "two", "pearson", [np.eye(3)])
    with pytest.raises(StoreError, match="no finished result") as caught:
        ResultFolder.open(tmp_path / "out")
    assert "Run the same match again" in caught.value.hint
    with pytest.raises(StoreError, match="There is no result folder"):
        ResultFolder.open(tmp_path / "nothing")


def test_an_earlier_result_is_replaced_whole(tmp_path: Path, match: Planted) -> None:
    write_planted(tmp_path / "out", match)
    writer = small_writer(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    writer.add_neighbours("one", "two", "pearson", {"real": neighbours_of(np.eye(3), 2)})
    assert writer.finish().anchor == "one"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files, such as 'thesis\.tex'"):
        small_writer(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    with pytest.raises(StoreError, match="is a file"):
        small_writer(tmp_path / "thesis.tex")


def test_blocks_that_do_not_make_up_the_table_are_refused(tmp_path: Path) -> None:
    writer = small_writer(tmp_path / "out")
    for blocks in ([np.eye(3)[:2]], [np.eye(3), np.eye(3)], [np.eye(4)]):
        with pytest.raises(ValueError, match=r"block"):
            writer.add_scores("one", "two", "pearson", blocks)
    assert list((tmp_path / "out").iterdir()) == [], "nothing half-written stays"
    with pytest.raises(ValueError, match="do not fit"):
        writer.add_neighbours("one", "two", "pearson", {"real": neighbours_of(np.eye(4), 2)})


@pytest.mark.parametrize("name", ["scores-tiny-a.npy", "stats-tiny-b.safetensors", "pairs.csv"])
def test_a_file_cut_short_is_named_on_opening(tmp_path: Path, match: Planted, name: str) -> None:
    write_planted(tmp_path / "out", match)
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StoreError, match=f"{name}' is .* bytes, but"):
        ResultFolder.open(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("neighbours-tiny-a.safetensors", lambda r: r.neighbours(ANCHOR, "tiny-a", "pearson")),
        ("stats-tiny-b.safetensors", lambda r: r.stats("tiny-b")),
        ("views-tiny-a.safetensors", lambda r: r.views()),
        ("previews.webp", lambda r: r.preview(0)),
        ("dead-tiny-a.npy", lambda r: r.dead("tiny-a")),
    ],
)
def test_a_flipped_byte_is_noticed_when_the_file_is_read(
    tmp_path: Path, match: Planted, name: str, ask
) -> None:
    write_planted(tmp_path / "out", match)
    path = tmp_path / "out" / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x40
    path.write_bytes(data)
    folder = ResultFolder.open(tmp_path / "out")
    with pytest.raises(StoreError, match=f"{name} is damaged"):
        ask(folder)
    with pytest.raises(StoreError, match=f"{name} is damaged"):
        folder.verify()


def test_verify_reads_whole_tables_too(tmp_path: Path, match: Planted) -> None:
    folder = write_planted(tmp_path / "out", match)
    folder.verify()
    path = tmp_path / "out" / "scores-tiny-b-centred.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(StoreError, match="scores-tiny-b-centred"):
        folder.verify()


def test_a_missing_file_is_named(tmp_path: Path, match: Planted) -> None:
    write_planted(tmp_path / "out", match)
    (tmp_path / "out" / "dead-tiny-a.npy").unlink()
    with pytest.raises(StoreError, match=r"dead-tiny-a\.npy' is missing"):
        ResultFolder.open(tmp_path / "out")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, match: Planted) -> None:
    write_planted(tmp_path / "out", match)
    secret = tmp_path / "secret"
    path = tmp_path / "out" / "pairs.csv"
    secret.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(StoreError, match=r"no file 'pairs\.csv'"):
        ResultFolder.open(tmp_path / "out")


def test_maps_become_bytes_between_low_and_high() -> None:
    maps = np.array([[[0.0, 1.0, 2.0, 3.0]], [[5.0, 5.0, 5.0, 5.0]]])
    low, high = np.array([1.0, 5.0]), np.array([2.0, 5.0])
    assert quantised(maps, low, high).tolist() == [[[0, 0, 255, 255]], [[0, 0, 0, 0]]]
