"""The generators' benchmark on tiny shapes: same pictures, and the rows that it promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rosetta_ui.benchmark import generators
from rosetta_ui.benchmark.generators import Case, measure
from rosetta_ui.benchmark.random_generators import (
    biggan_shape,
    fastgan_shape,
    random_generator,
    stylegan2_shape,
    stylegan3_shape,
)
from rosetta_ui.models.cards_published_generators import PUBLISHED_GENERATORS

VECTORS = Path(__file__).parents[1] / "vectors"
UNITS = {card.name: card.units for card in PUBLISHED_GENERATORS}
TINY = (
    Case("s2", "stylegan2", lambda: stylegan2_shape(32, widest=16), 2),
    Case("s3-t", "stylegan3", lambda: stylegan3_shape(32, layers=8, base=512, widest=12), 1),
    Case(
        "s3-r",
        "stylegan3",
        lambda: stylegan3_shape(128, layers=8, base=512, widest=6, radial=True),
        1,
    ),
    Case("big", "biggan", lambda: biggan_shape(8), 1),
    Case("fast", "fastgan", lambda: fastgan_shape(8), 1),
)


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.generator)
def test_the_plain_and_the_fast_implementation_draw_the_same(case: Case) -> None:
    (row,) = measure((case,), 1)
    assert row["max_error"] < 1e-4
    assert row["forward_ratio"] > 0
    assert row["backward_ratio"] > 0


def test_rows_are_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generators, "QUICK", TINY[:1])
    generators.run(True, tmp_path / "rows.json")
    record = json.loads((tmp_path / "rows.json").read_text("utf-8"))
    assert record["schema"] == 1
    assert record["machine"]
    (row,) = record["rows"]
    assert {"generator", "forward_ratio", "backward_ratio", "max_error"} <= set(row)
    assert "s2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stylegan3_r_a", stylegan3_shape(64, base=1024, widest=32, radial=True)),
        ("stylegan3_t_b", stylegan3_shape(64, layers=10, base=768, widest=24)),
    ],
)
def test_layers_follow_the_published_schedule(name: str, shape: Any) -> None:
    config = json.loads((VECTORS / name / "vector.json").read_text("utf-8"))["config"]
    assert len(shape.layers) == len(config["layer_specs"])
    for ours, theirs in zip(shape.layers, config["layer_specs"], strict=True):
        assert ours.name == theirs["name"]
        assert (ours.up, ours.down) == (theirs["up_factor"], theirs["down_factor"])
        assert list(ours.pad) == theirs["padding"][:2]
        assert ours.radial == theirs["down_radial"]
        assert ours.kernel == theirs["conv_kernel"]


@pytest.mark.parametrize(
    ("name", "family", "shape"),
    [
        ("stylegan2-lsun_cat", "stylegan2", stylegan2_shape(256)),
        ("stylegan2-lsun_car", "stylegan2", stylegan2_shape(512)),
        ("stylegan2-ffhq", "stylegan2", stylegan2_shape(1024)),
        ("stylegan3-ffhq", "stylegan3", stylegan3_shape(1024, radial=True)),
        ("stylegan3-afhq", "stylegan3", stylegan3_shape(512, radial=True)),
        ("biggan", "biggan", biggan_shape()),
    ],
)
def test_the_cards_unit_counts_are_those_of_the_published_shapes(
    name: str, family: str, shape: Any
) -> None:
    layers = shape.units("") if family == "stylegan3" else shape.layers("")
    assert sum(spec.channels for spec in layers) == UNITS[name]


def test_random_weights_depend_on_the_seed_alone() -> None:
    shape = stylegan2_shape(16, widest=8)
    pictures = [
        generator.synthesise(generator.sample([0], seed=0))
        for generator in (random_generator("stylegan2", shape, seed=s) for s in (1, 1, 2))
    ]
    assert bool((pictures[0] == pictures[1]).all())
    assert not bool((pictures[0] == pictures[2]).all())
