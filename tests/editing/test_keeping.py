"""Strength edits leave the units alone that are not asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_edits import SETTINGS, after, climbed, last
from torch import Tensor

from rosetta_ui.editing.edit import Coordinates, chosen_maps, targets_of
from rosetta_ui.editing.keeping import Keeping, kept_units
from rosetta_ui.editing.session import EditBench, replay, start_state
from rosetta_ui.editing.setup import KEEP, usual_settings, usual_units
from rosetta_ui.edits import EditStep, PictureState, Region, Rung, Scale, Shift
from rosetta_ui.types import Unit

ASKED = (Unit("tiny-gan", "act2", 1), Unit("tiny-gan", "act2", 4))
BOX = Region.box(0, 0, 0.5, 1)


def strength(bench: EditBench, keep: float, edit: Scale, **more: object) -> EditStep:
    settings = replace(SETTINGS, steps=60, keep=keep, **more)  # pyright: ignore
    assert bench.generator.card.name == "tiny-gan"
    return EditStep((edit,), ASKED, settings)


def maps(bench: EditBench, state: PictureState) -> dict[str, Tensor]:
    """Standardised maps of the units that an edit usually moves."""
    chosen = bench.setup.choose(bench.generator, usual_units(bench.generator.layers))
    with torch.no_grad():
        return chosen_maps(
            bench.generator, chosen, Coordinates("z", torch.from_numpy(state.latents.values))
        )


def test_only_strength_keeps_others_and_only_those_that_are_not_asked_for(
    bench: EditBench,
) -> None:
    usual = usual_units(bench.generator.layers)
    kept = kept_units(usual, ASKED, [Scale(0.0)])
    assert set(kept) == set(usual) - set(ASKED)
    assert kept_units(usual, ASKED, [Scale(0.0), Shift(0.1)]) == ()
    card = bench.generator.card
    assert usual_settings(card, [Scale(0.0)]).keep == KEEP
    assert usual_settings(card, [Shift(0.1)]).keep == 0


def test_asked_units_change_and_the_others_are_free_in_the_region_alone(bench: EditBench) -> None:
    chosen = bench.setup.choose(bench.generator, usual_units(bench.generator.layers))
    own = maps(bench, start_state(bench.generator, 1))
    edits = [Scale(0.0, BOX)]
    keeping = Keeping.of(chosen, ASKED, 2.0)
    found = keeping.targets(targets_of(own, edits), own, edits)
    places = {name: index.tolist() for name, index in chosen.channels.items()}
    rows = [places["act2"].index(unit.channel) for unit in ASKED]
    others = [i for i in range(len(places["act2"])) if i not in rows]
    target = found["act2"]
    assert torch.equal(target.maps[:, others], own["act2"][:, others])
    assert torch.equal(target.maps[0, rows, :, 8:], own["act2"][0, rows, :, 8:])
    assert not torch.equal(target.maps[0, rows, :, :8], own["act2"][0, rows, :, :8])
    assert float(target.mask[others, :, :8].abs().max()) == 0
    # Each group counts as a mean of its own, the others twice as much as the asked.
    weight = {name: each.mask[:, 0, -1] for name, each in found.items()}
    total = sum(len(each) for each in weight.values())
    asked = float(weight["act2"][rows].sum()) / total
    rest = float(sum(each.sum() for each in weight.values())) / total - asked
    assert (asked, rest) == (pytest.approx(1), pytest.approx(2))


@pytest.mark.parametrize("edit", [Scale(0.0), Scale(3.0, BOX)])
def test_the_others_stay_nearer_and_the_asked_still_change(bench: EditBench, edit: Scale) -> None:
    state = start_state(bench.generator, 1)
    before = maps(bench, state)
    assert before["act2"].shape[1] == 6  # none is dead: their places are their channels
    changed: list[tuple[float, float]] = []
    for keep in (0.0, 3.0):
        now = maps(bench, after(bench, state, strength(bench, keep, edit)))
        chosen = [unit.channel for unit in ASKED]
        rest = [c for c in range(before["act2"].shape[1]) if c not in chosen]
        difference = (now["act2"] - before["act2"])[..., 8:].square()
        inside = (now["act2"] - before["act2"])[..., :8].mean((0, 2, 3))[chosen].mean()
        changed.append((float(difference[:, rest].mean()), float(inside)))
    (free, _), (kept, moved) = changed
    assert kept < 0.75 * free
    assert moved < 0 if edit.factor < 1 else moved > 0


def test_what_is_kept_replays_and_is_tried_at_several_strengths(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    found = after(bench, state, strength(bench, 1.0, Scale(0.0, BOX)))
    again = last(replay(bench, found)).state
    assert again is not None
    assert again.latents.values.tobytes() == found.latents.values.tobytes()
    rungs = (Rung(0.5, 0.0), Rung(1.0, 0.0))
    made = replace(strength(bench, 1.0, Scale(0.0, BOX)), ladder=rungs)
    half, whole = climbed(bench, state, made)
    assert half.latents.values.tobytes() != whole.latents.values.tobytes()
