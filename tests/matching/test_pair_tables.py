"""Tables in blocks, best partners found block by block, and tables in files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rosetta_ui.errors import StoreError
from rosetta_ui.matching.neighbours import Neighbours, Which
from rosetta_ui.matching.tables import PairTables
from tests.matching.reference import specs


class Given:
    """A table that is there already."""

    def __init__(self, table: Tensor, dead_rows: Tensor, dead_cols: Tensor) -> None:
        self._table, self._dead = table, (dead_rows, dead_cols)
        self.dtype, self.device = table.dtype, table.device

    def dead(self, side: int, score: str, which: Which) -> Tensor:
        del score, which
        return self._dead[side]

    def fill(self, out: Tensor, score: str, which: Which, layer: int, first: int) -> None:
        del score, which
        start = (0, 13)[layer] + first
        out.copy_(self._table[start : start + len(out)])


ROWS, COLS = specs("a", [(13, 2, 2), (20, 3, 3)]), specs("b", [(17, 2, 2)])


def tables(table: Tensor | None = None, dtype: torch.dtype = torch.float32) -> PairTables:
    if table is None:
        table = torch.rand(33, 17, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dead_rows, dead_cols = torch.zeros(33, dtype=torch.bool), torch.zeros(17, dtype=torch.bool)
    dead_rows[[2, 30]], dead_cols[5] = True, True
    source = Given(table.to(dtype), dead_rows, dead_cols)
    return PairTables(ROWS, COLS, source, n_images=4, has_null=False, has_halves=False)


@pytest.mark.parametrize("rows", [1, 5, 13, 100, None])
def test_blocks_cover_the_table_once_in_order(rows: int | None) -> None:
    whole = tables().scores()
    at = 0
    for first, block in tables().blocks(rows_per_block=rows):
        assert first == at
        assert torch.equal(block, whole[first : first + len(block)])
        at += len(block)
    assert at == 33


def test_dead_units_are_minus_infinity_and_others_stay_inside_minus_one_and_one() -> None:
    table = tables(torch.full((33, 17), 1.0000002)).scores()
    assert torch.isneginf(table[[2, 30]]).all()
    assert torch.isneginf(table[:, 5]).all()
    alive = table[~torch.isneginf(table)]
    assert alive.numel() == 31 * 16
    assert float(alive.max()) == 1


@pytest.mark.parametrize("k", [1, 3, 16, 40])
def test_neighbours_are_the_sorted_table(k: int) -> None:
    given = tables()
    found, table = given.neighbours(k=k), given.scores().numpy()
    assert found.shape == (33, 17)
    assert found.k == k
    for index, score, lines in (
        (found.row_index, found.row_score, table),
        (found.col_index, found.col_score, table.T),
    ):
        for number, line in enumerate(lines):
            order = np.argsort(-line, kind="stable")
            order = order[~np.isneginf(line[order])][:k]
            assert index[number, : len(order)].tolist() == order.tolist()
            assert score[number, : len(order)].tolist() == line[order].tolist()
            assert (index[number, len(order) :] == -1).all()
            assert np.isneginf(score[number, len(order) :]).all()


def test_among_equal_scores_the_lower_number_comes_first() -> None:
    found = tables(torch.zeros(33, 17)).neighbours(k=17)
    assert found.row_index[0].tolist() == [*range(5), *range(6, 17), -1]


def test_dead_units_have_no_neighbours() -> None:
    found = tables().neighbours(k=4)
    assert np.flatnonzero(found.dead_rows).tolist() == [2, 30]
    assert np.flatnonzero(found.dead_cols).tolist() == [5]
    assert found.transposed().dead_rows.tolist() == found.dead_cols.tolist()


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 0.0), ("float16", 5e-4)])
def test_a_saved_table_can_be_mapped_and_states_its_error(
    dtype: str, bound: float, tmp_path: Path
) -> None:
    error = tables().save(tmp_path / "t.npy", dtype=dtype)  # pyright: ignore[reportArgumentType]
    read = np.load(tmp_path / "t.npy", mmap_mode="r", allow_pickle=False)
    assert read.dtype == dtype
    table = tables().scores().numpy()
    alive = np.isfinite(table)
    off = np.abs(read[alive].astype(np.float32) - table[alive])
    assert float(off.max()) == error
    assert error <= bound
    assert np.isneginf(read[2]).all()


def test_a_table_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(StoreError, match="cannot be made"):
        tables().save(tmp_path / "folder.npy")


def test_what_is_not_there_is_refused_before_the_first_block() -> None:
    with pytest.raises(ValueError, match="no score 'published'"):
        tables().blocks("published")
    with pytest.raises(ValueError, match="at least 1"):
        tables().neighbours(k=0)


def test_neighbours_need_no_torch() -> None:
    code = "import sys, rosetta_ui.matching.neighbours as n; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert Neighbours.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
