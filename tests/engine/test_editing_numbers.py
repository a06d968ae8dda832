"""The numbers of real edits: fidelity, partners, realism; several strengths; bundled yardsticks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rosetta_ui.editing.latents import natural_z
from rosetta_ui.editing.session import start_state
from rosetta_ui.editing.yardstick import BANK_SEED, NATURAL_PICTURES, pooled
from rosetta_ui.edits import (
    Blend,
    EditRequest,
    Frontier,
    Mirror,
    Paste,
    Region,
    Scale,
    Shift,
    Trying,
)
from rosetta_ui.engine import editing_numbers
from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError
from rosetta_ui.settings import Settings

pytestmark = pytest.mark.weights

NAME = "dcgan-digiface"


@pytest.fixture(scope="module")
def engine(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    cache = tmp_path_factory.mktemp("numbers")
    (cache / "zoo").symlink_to(zoo.root / "zoo", target_is_directory=True)
    with Engine(Settings(cache_dir=cache, device="cpu")) as made:
        yield made


def asked(*edits: Any, **more: Any) -> EditRequest:
    return EditRequest(tuple(edits), trying=Trying(steps=40), **more)


def test_a_shift_does_what_it_says_and_all_numbers_are_known(engine: Engine) -> None:
    state, _ = engine.editing.start_picture(NAME, 3)
    *_, last = engine.editing.edit(state, asked(Shift(0.12)))
    assert last.state is not None
    found = engine.editing.numbers(state, last.state)
    assert found.fidelity_after > found.fidelity_before + 0.1
    assert found.partner_corr > 0.2
    assert 0 <= found.realism_percentile <= 100
    assert found.realism_percentile >= 0
    kept = engine.editing.recipe(last.state, [found])
    view = engine.editing.load("", kept)
    assert view.entries[view.at].numbers == found


def test_a_copy_has_a_fidelity_and_a_strength_has_none(engine: Engine) -> None:
    state, _ = engine.editing.start_picture(NAME, 3)
    box = Paste(Region.box(0.2, 0.3, 0.8, 0.6), 0.2, 0.3)
    *_, last = engine.editing.edit(state, asked(box, source_seed=7))
    assert last.state is not None
    found = engine.editing.numbers(state, last.state)
    assert 0.5 < found.fidelity_after <= 1  # most of the picture is asked to stay as it is
    assert 0.3 < found.partner_corr <= 1
    *_, last = engine.editing.edit(state, asked(Scale(0.0)))
    assert last.state is not None
    found = engine.editing.numbers(state, last.state)
    assert np.isnan(found.fidelity_after)
    assert np.isnan(found.partner_corr)
    assert 0 <= found.realism_percentile <= 100


def test_stronger_parts_of_an_edit_come_nearer_to_it(engine: Engine) -> None:
    state, _ = engine.editing.start_picture(NAME, 3)
    *_, found = engine.editing.frontier(state, asked(Shift(0.16)))
    assert isinstance(found, Frontier)
    shares = [point.rung.share for point in found.points]
    fidelity = [point.numbers.fidelity_after for point in found.points]
    assert shares == sorted(shares)
    assert fidelity[3] > fidelity[0]
    natural = [i for i, p in enumerate(found.points) if p.numbers.realism_percentile <= 95]
    assert found.natural == (natural[-1] if natural else -1)
    *_, mirrored = engine.editing.frontier(state, asked(Mirror()))
    assert isinstance(mirrored, Frontier)
    assert len({point.rung.pull for point in mirrored.points}) == 5
    with pytest.raises(BadRequestError, match="at every share"):
        list(engine.editing.frontier(state, asked(Blend(0.5), source_seed=7)))


def test_the_other_picture_must_be_the_same_generators(engine: Engine) -> None:
    state, _ = engine.editing.start_picture(NAME, 3)
    other, _ = engine.editing.start_picture("dcgan-aligned", 3)
    with pytest.raises(BadRequestError, match="nothing in common"):
        engine.editing.step(state, asked(Blend(0.5), source=other))


@pytest.mark.parametrize("name", ["dcgan-digiface", "dcgan-aligned", "mobilestylegan"])
def test_the_bundled_yardstick_fits_the_present_code(engine: Engine, name: str) -> None:
    bench = engine._bench
    generator = bench.models.generator(name)
    state = start_state(generator, 0)
    key = editing_numbers.features_key(bench, generator, state)
    path = Path(editing_numbers.BUNDLED_YARDSTICKS) / f"{key}.npy"
    assert path.is_file(), "make it again: bench edit --yardsticks assets/yardsticks"
    assert path.stat().st_size <= 1_000_000
    kept = editing_numbers.bundled_features(key)
    assert kept is not None
    assert kept.shape[0] == NATURAL_PICTURES
    # One of its pictures again: float16 keeps three digits.
    jury = editing_numbers.Jury.of(bench, name)

    z = natural_z(generator, range(1), BANK_SEED)
    with torch.inference_mode():
        image = generator.synthesise_from(z, "z", psi=state.psi)
        row = pooled(jury.judge, image)[0].numpy()
    assert np.abs(kept[0] - row).max() <= 2e-3 * np.abs(row).max()
