"""The same pass on a CUDA device: the definition, and no waiting for the device after one batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rosetta_ui.matching.passes import CorrelationPass
from tests.matching.reference import plain_scores, random_maps, specs

pytestmark = pytest.mark.gpu

N = 24
A = specs("a", [(6, 64, 64), (5, 16, 16), (4, 9, 20)])
B = specs("b", [(5, 14, 14), (7, 7, 7)])
MAPS = {"a": random_maps(A, N, 1, mean=100.0), "b": random_maps(B, N, 2, mean=100.0)}


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Any call that waits for the device raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def counted(dtype: torch.dtype, folder: Path | None = None) -> CorrelationPass:
    run = CorrelationPass(
        {"a": A, "b": B}, [("a", "b")], n_images=N, device="cuda", dtype=dtype, table_dir=folder
    )
    batches = [
        {m: {k: v[i : i + 6].cuda() for k, v in x.items()} for m, x in MAPS.items()}
        for i in range(0, N, 6)
    ]
    run.add(batches[0], 0)
    if folder is not None:
        for i, batch in enumerate(batches[1:], 1):
            run.add(batch, 6 * i)
        return run
    with no_synchronisation():
        for i, batch in enumerate(batches[1:], 1):
            run.add(batch, 6 * i)
    return run


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_scores_on_cuda_equal_the_definition_without_waiting(
    dtype: torch.dtype, bound: float
) -> None:
    run = counted(dtype)
    tables = run.finish()["a", "b"]
    order = [i for block in range(run.blocks.count) for i in run.blocks.partners(block)]
    rows, cols = list(MAPS["a"].values()), list(MAPS["b"].values())
    for score in ("pearson", "centred"):
        centred = score == "centred"
        for which, expected in (
            ("real", plain_scores(rows, cols, centred=centred)),
            ("null", plain_scores(rows, cols, centred=centred, order=order)),
        ):
            got = tables.scores(score, which).double().cpu()  # pyright: ignore[reportArgumentType]
            assert float((got - expected).abs().max()) <= bound


def test_tables_of_a_cuda_pass_may_live_in_files(tmp_path: Path) -> None:
    filed = counted(torch.float32, tmp_path).finish()["a", "b"].neighbours("pearson", 3)
    held = counted(torch.float32).finish()["a", "b"].neighbours("pearson", 3)
    assert filed.row_index.tolist() == held.row_index.tolist()
