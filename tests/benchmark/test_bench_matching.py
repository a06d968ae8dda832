"""The benchmark's baseline is the published algorithm, and its rows hold what the README quotes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rosetta_ui.benchmark import matching
from rosetta_ui.benchmark.baseline_published import Stopwatch, published_match
from rosetta_ui.benchmark.machine import Peaks, anonymous_bytes, watched_memory
from rosetta_ui.benchmark.match_cases import FULL, QUICK, Case, PlainRun, case_called
from rosetta_ui.benchmark.match_memory import peak_of
from rosetta_ui.benchmark.random_generators import random_generator, stylegan2_shape
from rosetta_ui.errors import BadRequestError
from tests.matching.reference import published_scores, random_maps, specs

SMALL = Case(
    "small",
    lambda: random_generator("stylegan2", stylegan2_shape(16, widest=16)),
    ("resnet10t.random0", "resnet10t.random1"),
    (PlainRun("resnet10t.random0"), PlainRun("resnet10t.random1", layers=2)),
    batch=2,
    published=True,
)


def test_the_baseline_is_the_published_definition() -> None:
    a = list(random_maps(specs("a", [(5, 16, 16), (3, 4, 4)]), 8, 1, mean=3).values())
    b = list(random_maps(specs("b", [(4, 7, 7), (6, 8, 8)]), 8, 2, mean=1).values())
    b[0][:, 1] = 0

    def batches() -> list[tuple[list[Tensor], list[Tensor]]]:
        return [([m[i : i + 4] for m in a], [m[i : i + 4] for m in b]) for i in (0, 4)]

    watch = Stopwatch()
    got = published_match(batches, watch)
    assert torch.allclose(got.double(), published_scores(a, b, 4), atol=1e-6)
    assert float(got[:, 1].abs().max()) == 0
    assert watch.statistics > 0
    assert watch.matching > 0
    assert watch.correlation == watch.statistics + watch.matching


def test_a_baseline_without_batches_is_refused() -> None:
    with pytest.raises(ValueError, match="no batches"):
        published_match(list)


def test_a_row_holds_every_column_and_ours_agrees_with_the_published() -> None:
    row = matching.measure(SMALL, Peaks(1e11, 5e10), repetitions=1)
    assert {
        "config",
        "correlation_ratio",
        "end_to_end_ratio",
        "correlation_ratio_with_null",
        "max_error",
        "gemm_share",
        "update_share",
        "plain_float64_share",
    } <= row.keys()
    assert row["max_error"] < 1e-5
    assert row["published_max_error"] < 1e-5
    assert row["published_other_pairs"] == 0
    assert row["plain_layers"] == {"resnet10t.random1": 2}
    assert json.loads(json.dumps(row)) == row


def test_the_command_writes_rows_and_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory(case: Case, quick: bool) -> dict[str, object]:
        del case, quick
        return {
            "peak_memory_ratio": 0.5,
            "peak_memory_ratio_with_null": 0.5,
            "peak_gib": {"plain": 1.0, "ours": 0.5, "with_null": 0.5},
        }

    monkeypatch.setattr(matching, "QUICK", (FULL[0], SMALL))
    monkeypatch.setattr(matching, "missing_weights", lambda case: "x" if case is FULL[0] else "")
    monkeypatch.setattr(matching, "_memory", no_memory)
    monkeypatch.setattr(matching, "_growth", lambda sizes: iter(()))
    matching.run(quick=True, json_file=tmp_path / "rows.json")
    written = json.loads((tmp_path / "rows.json").read_text("utf-8"))
    assert written["schema"] == 1
    assert [row["config"] for row in written["rows"]] == ["small"]
    assert "float32_gflops" in written["machine"]
    said = capsys.readouterr().out
    assert "left out, as the weights of x are not here" in said
    assert "published run on so many layers only" in said


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    small, large = peak_of("growth", "8"), peak_of("growth", "24")
    assert small.bytes > 50 << 20
    assert abs(large.bytes - small.bytes) < 100 << 20
    with pytest.raises(RuntimeError, match="ended with"):
        peak_of("ours", "no such case", "quick")


def test_the_peak_of_memory_is_seen() -> None:
    before = anonymous_bytes()
    with watched_memory() as peak:
        kept = np.ones(1 << 25)
    assert peak.bytes >= before + kept.nbytes


def test_every_case_is_found_by_its_name_and_others_are_refused() -> None:
    assert all(case_called(case.config, quick=False) is case for case in FULL)
    assert all(case_called(case.config, quick=True) is case for case in QUICK)
    with pytest.raises(BadRequestError, match="no case 'x'"):
        case_called("x", quick=True)
