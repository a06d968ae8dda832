from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rosetta_ui.errors import StoreError
from rosetta_ui.store.files import (
    folder_bytes,
    map_npy,
    read_arrays,
    read_json,
    said_plainly,
    seal_of,
    write_arrays,
    write_bytes,
    write_json,
    write_npy,
    writing,
)
from rosetta_ui.store.pictures import decode_sheet, encode_sheet


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail_half_way() -> None:
        with writing(path) as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert write_bytes(path, b"after") == seal_of(path)
    assert path.read_bytes() == b"after"


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "bool"])
def test_blocks_make_the_file_that_numpy_would(tmp_path: Path, dtype: str) -> None:
    whole = np.random.default_rng(0).uniform(0, 2, (7, 5)).astype(dtype)
    seal = write_npy(tmp_path / "a.npy", [whole[:3], whole[3:3], whole[3:]], (7, 5), dtype)
    assert seal == seal_of(tmp_path / "a.npy")
    loaded = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert loaded.dtype == whole.dtype
    assert np.array_equal(loaded, whole)
    assert np.array_equal(map_npy(tmp_path / "a.npy", (7, 5)), whole)
    with pytest.raises(StoreError, match="was expected"):
        map_npy(tmp_path / "a.npy", (5, 7))


def test_an_array_of_the_other_byte_order_is_read_right(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(5, dtype=">i4"))
    assert map_npy(tmp_path / "a.npy").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("values", [np.array(["text"]), np.array([1 + 2j]), np.zeros(2, "i4,f4")])
def test_only_numbers_are_mapped(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(StoreError, match="damaged"):
        map_npy(tmp_path / "a.npy")


def test_arrays_are_read_by_prefix(tmp_path: Path) -> None:
    arrays = {"real/a": np.arange(3), "real/b": np.ones((2, 2)), "null/a": np.zeros(1)}
    write_arrays(tmp_path / "a.safetensors", arrays)
    assert sorted(read_arrays(tmp_path / "a.safetensors")) == sorted(arrays)
    some = read_arrays(tmp_path / "a.safetensors", "real/")
    assert {name: array.tolist() for name, array in some.items()} == {
        "real/a": [0, 1, 2],
        "real/b": [[1, 1], [1, 1]],
    }


def test_a_kind_of_number_that_numpy_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": np.zeros(4, np.uint16)}, path)
    path.write_bytes(path.read_bytes().replace(b'"U16"', b'"F8_X"'[:5]))
    with pytest.raises(StoreError, match="damaged"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EDQUOT, "The disk is full"),
        (errno.EROFS, "No permission to write"),
        (errno.EACCES, "No permission to write"),
        (errno.EIO, "could not be written"),
    ],
)
def test_failures_of_the_disk_are_said_plainly(number: int, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence), said_plainly(Path("x"), "write"):
        raise OSError(number, os.strerror(number))


def test_json_is_written_whole_and_read_with_limits(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ψ": [1, 2.5, None, "x"]})
    assert read_json(path) == {"ψ": [1, 2.5, None, "x"]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"x": float("nan")})
    assert read_json(path)["ψ"] == [1, 2.5, None, "x"]
    with pytest.raises(StoreError, match="at most 10"):
        read_json(path, limit=10)
    with pytest.raises(StoreError, match="is missing"):
        read_json(tmp_path / "b.json")


def test_folders_are_measured_with_what_lies_in_them(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "y").write_bytes(b"123")
    assert folder_bytes(tmp_path) == 8


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 3), (6, 3), (7, 8)])
def test_a_lossless_sheet_gives_its_tiles_back(count: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    tiles = list(rng.integers(0, 256, (count, 6, 9, 3), np.uint8))
    columns = min(columns, count)
    back = decode_sheet(encode_sheet(tiles, columns, 101), count, columns, (6, 9))
    assert np.array_equal(back, tiles)
    grey = [tile[..., 0] for tile in tiles]
    data = encode_sheet(grey, columns, 101)
    assert np.array_equal(decode_sheet(data, count, columns, (6, 9), grey=True), grey)


def test_sheets_that_cannot_be_are_refused() -> None:
    tile = np.zeros((200, 200, 3), np.uint8)
    with pytest.raises(ValueError, match="too large for WebP"):
        encode_sheet([tile] * 100, 100)
    with pytest.raises(ValueError, match="one shape"):
        encode_sheet([tile, tile[:100]], 2)
    good = encode_sheet([tile], 1)
    with pytest.raises(StoreError, match="was expected"):
        decode_sheet(good, 2, 1, (200, 200))
    with pytest.raises(StoreError, match="damaged"):
        decode_sheet(good[: len(good) // 2], 1, 1, (200, 200))
