"""Images that express a neuron: its activity rises, latents stay natural, every start by itself."""

from __future__ import annotations

import pytest
import torch
from tiny_edits import load

from rosetta_ui.editing.edit import Coordinates, chosen_maps
from rosetta_ui.editing.express import REACH, Expressing, activity, coordinates, express
from rosetta_ui.editing.latents import Prior
from rosetta_ui.editing.losses import ChosenUnits
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.errors import Cancelled
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.weights import WeightStore

STEPS = 25
CLASSES = {"tiny-gan": None, "tiny-class-gan": 2}


@pytest.fixture(scope="module", params=["tiny-gan", "tiny-class-gan"])
def made(request: pytest.FixtureRequest) -> tuple[Generator, EditSetup]:
    generator = load(request.param)
    return generator, EditSetup.fit(generator, generator.card.psi, CLASSES[generator.card.name])


def asked(generator: Generator, setup: EditSetup, n: int = 3) -> tuple[ChosenUnits, Coordinates]:
    spec = generator.layers[len(generator.layers) // 2]
    alive = int(setup.deviation[spec.name].argmax())
    z = torch.from_numpy(generator.sample(range(n), 0).values)
    index = CLASSES[generator.card.name]
    where = coordinates(generator, setup.prior, z, generator.card.psi, index)
    return setup.choose(generator, [spec.unit(alive)]), where


def test_activity_rises_from_every_start(made: tuple[Generator, EditSetup]) -> None:
    generator, setup = made
    chosen, where = asked(generator, setup)
    before = activity(chosen_maps(generator, chosen, where))
    *_, last = express(generator, Expressing(chosen, where), STEPS)
    after = activity(chosen_maps(generator, chosen, where, where.latents(last.best)))
    assert (after > before + 0.05).all()
    assert last.step == STEPS


def test_a_stronger_pull_stays_nearer_to_the_natural_start(
    made: tuple[Generator, EditSetup],
) -> None:
    generator, setup = made
    chosen, where = asked(generator, setup)
    steps: list[float] = []
    for pull in (0.05, 5.0):
        *_, last = express(generator, Expressing(chosen, where, pull), STEPS)
        steps.append(float(where.step_size(last.best).mean()))
    assert steps[1] < 0.5 * steps[0]


def test_starts_do_not_disturb_each_other(made: tuple[Generator, EditSetup]) -> None:
    generator, setup = made
    chosen, both = asked(generator, setup, 2)
    _, one = asked(generator, setup, 1)
    *_, together = express(generator, Expressing(chosen, both), 5)
    *_, alone = express(generator, Expressing(chosen, one), 5)
    assert torch.allclose(together.best[:1], alone.best, atol=1e-4)


def test_stop_ends_it_inside_a_forward_pass(made: tuple[Generator, EditSetup]) -> None:
    generator, setup = made
    chosen, where = asked(generator, setup, 1)

    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        next(express(generator, Expressing(chosen, where, check=check)))


@pytest.mark.weights
def test_a_real_neuron_of_a_style_generator_rises_in_w(zoo: WeightStore) -> None:
    from rosetta_ui.models.registry import build_registry

    registry = build_registry()
    card = registry.card("mobilestylegan")
    generator = registry.loader("mobilestylegan")(card, zoo.tensors(card))
    assert isinstance(generator, Generator)
    spec = next(spec for spec in generator.layers if max(spec.size) == 16)
    mean = {s.name: torch.zeros(s.channels) for s in generator.layers}
    deviation = {s.name: torch.ones(s.channels) for s in generator.layers}
    w = generator.to_w(torch.randn(600, 512, generator=torch.Generator().manual_seed(0)))[:, 0]
    setup = EditSetup(mean, deviation, Prior.fit(w))
    z = torch.from_numpy(generator.sample(range(2), 0).values)
    where = coordinates(generator, setup.prior, z, card.psi, None)
    assert where.space == "w+"
    asked_for = Expressing(setup.choose(generator, [spec.unit(3)]), where)
    seen = list(express(generator, asked_for, 6))
    assert (seen[-1].terms["activity"] < seen[0].terms["activity"]).all()
    # However far it would go, it stays near to what the generator draws: one short step of w.
    far = 100 * torch.ones_like(seen[-1].best)
    moved = setup.prior.whiten(where.latents(far)) - setup.prior.whiten(where.start)
    assert torch.allclose(moved.norm(dim=-1), torch.tensor(REACH), rtol=1e-2)
    assert torch.allclose(moved, moved[:, :1], atol=1e-2)
