"""The edit problem on a tiny generator: exact maps, exact gradients, and edits that work."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.edit import Coordinates, EditProblem, Target, chosen_maps, targets_of
from rosetta_ui.editing.latents import Prior
from rosetta_ui.editing.losses import ChosenUnits
from rosetta_ui.editing.optimise import Schedule, descend
from rosetta_ui.edits import Paste, Region, Scale, Shift, Zoom
from rosetta_ui.errors import BadRequestError, Cancelled
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import tiny_cards
from rosetta_ui.probing.taps import tap


@pytest.fixture(scope="module")
def generator() -> Generator:
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    model = registry.loader("tiny-gan")(registry.card("tiny-gan"), {})
    assert isinstance(model, Generator)
    return model


def latents(generator: Generator, n: int = 3) -> Tensor:
    return torch.from_numpy(generator.sample(range(n), 0).values)


def choose(generator: Generator, *names: str) -> ChosenUnits:
    with torch.inference_mode(), tap(generator.net, generator.layers) as maps:
        generator.synthesise(generator.sample(range(64), 5))
    mean = {k: v.mean((0, 2, 3)).clone() for k, v in maps.items()}
    deviation = {k: v.std((0, 2, 3)).clone() for k, v in maps.items()}
    units = [s.unit(c) for s in generator.layers if s.name in names for c in range(s.channels)]
    return ChosenUnits.choose(generator.layers, units, mean, deviation)


def test_a_stopped_forward_gives_the_same_maps_as_a_full_one(generator: Generator) -> None:
    chosen, z = choose(generator, "act0", "act1"), latents(generator)
    with torch.no_grad():
        stopped = chosen_maps(generator, chosen, Coordinates("z", z))
        with tap(generator.net, generator.layers) as maps:
            generator.synthesise_from(z, "z")
    for name, full in chosen.standardise(maps).items():
        assert torch.equal(stopped[name], full)


def problem_of(
    generator: Generator, chosen: ChosenUnits, targets: Mapping[str, Target], z: torch.Tensor
) -> EditProblem:
    drawer = Drawer(generator, chosen.layers, False)
    return EditProblem(drawer, chosen, targets, Coordinates("z", z))


def test_the_gradient_equals_a_plain_loop_over_units(generator: Generator) -> None:
    chosen, z = choose(generator, "act1", "act2"), latents(generator)
    with torch.no_grad():
        targets = targets_of(
            chosen_maps(generator, chosen, Coordinates("z", z)), [Shift(0.25, 0.125)]
        )
    at = (z + 0.1).requires_grad_()
    problem = problem_of(generator, chosen, targets, z)
    problem(at, 0)["maps"].sum().backward()

    again = (z + 0.1).requires_grad_()
    moved = again * (z.norm(dim=1, keepdim=True) / again.norm(dim=1, keepdim=True))
    with tap(generator.net, chosen.layers) as raw:
        generator.synthesise_from(moved, "z")
    total = torch.zeros(())
    for image in range(len(z)):
        scores = []
        for name, index in chosen.channels.items():
            mask = targets[name].mask
            for k, channel in enumerate(index.tolist()):
                own = raw[name][image, channel]
                own = (own - chosen.mean[name][k]) / chosen.deviation[name][k] * mask
                want = targets[name].maps[image, k] * mask
                scores.append((own * want).sum() / (own.norm() * want.norm()).clamp_min(1e-12))
        total = total - torch.stack(scores).mean()
    total.backward()
    assert at.grad is not None
    assert again.grad is not None
    assert float((at.grad - again.grad).norm() / again.grad.norm()) <= 1e-5


@pytest.mark.parametrize("edit", [Shift(0.25, 0), Zoom(1.25)])
def test_descending_brings_the_maps_to_where_they_were_asked(
    generator: Generator, edit: Shift | Zoom
) -> None:
    chosen, z = choose(generator, "act1", "act2"), latents(generator)
    with torch.no_grad():
        targets = targets_of(chosen_maps(generator, chosen, Coordinates("z", z)), [edit])
    problem = problem_of(generator, chosen, targets, z)
    first = problem(z, 0)["maps"]
    last = list(descend(problem, z, Schedule(steps=80, learning_rate=0.15)))[-1]
    assert bool((last.best_total < first - 0.01).all())
    norms = problem.coordinates.latents(last.best).norm(dim=1)
    assert torch.allclose(norms, z.norm(dim=1), rtol=1e-5)


def test_strength_zero_weakens_a_unit(generator: Generator) -> None:
    chosen, z = choose(generator, "act2"), latents(generator)
    with torch.no_grad():
        maps = chosen_maps(generator, chosen, Coordinates("z", z))
    targets = targets_of(maps, [Scale(0.0)])
    problem = problem_of(generator, chosen, targets, z)
    last = list(descend(problem, z, Schedule(steps=60, learning_rate=0.1)))[-1]
    found = problem.coordinates.latents(last.best)
    after = chosen_maps(generator, chosen, problem.coordinates, found)["act2"]
    assert float(after.mean()) < float(maps["act2"].mean())


def test_a_pasted_region_asks_for_the_sources_maps(generator: Generator) -> None:
    chosen, z = choose(generator, "act2"), latents(generator, 2)
    with torch.no_grad():
        maps = chosen_maps(generator, chosen, Coordinates("z", z))
        source = {k: v.flip(0) for k, v in maps.items()}
    edit = Paste(Region.box(0, 0, 0.5, 1), 0, 0)
    target = targets_of(maps, [edit], source=source)["act2"].maps
    assert torch.allclose(target[..., :8], source["act2"][..., :8], atol=1e-5)
    assert torch.equal(target[..., 8:], maps["act2"][..., 8:])
    with pytest.raises(BadRequestError, match="copy from"):
        targets_of(maps, [edit])


def test_nothing_asked_for_is_refused(generator: Generator) -> None:
    with pytest.raises(BadRequestError, match="No edit"):
        targets_of({"a": torch.zeros(1, 1, 2, 2)}, [])


def test_stop_is_heard_inside_a_forward_pass(generator: Generator) -> None:
    chosen, z = choose(generator, "act1", "act2"), latents(generator)
    heard = 0

    def check() -> None:
        nonlocal heard
        heard += 1
        raise Cancelled

    targets = targets_of(chosen_maps(generator, chosen, Coordinates("z", z)), [Shift(0.1)])
    drawer = Drawer(generator, chosen.layers, False, check=check)
    problem = EditProblem(drawer, chosen, targets, Coordinates("z", z))
    with pytest.raises(Cancelled):
        next(iter(descend(problem, z, Schedule())))
    assert heard == 1, "after the first of the two layers"


def test_steps_in_w_are_counted_in_natural_deviations() -> None:
    samples = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    prior = Prior.fit(samples * torch.tensor([0.1, 1.0, 3.0, 10.0]))
    start = torch.zeros(2, 3, 4)
    coordinates = Coordinates("w+", start, prior)
    at = torch.ones_like(start)
    assert coordinates.step_size(at).tolist() == [1.0, 1.0]
    assert torch.equal(coordinates.latents(coordinates.origin()), start)
    spread = coordinates.latents(at).norm(dim=-1)
    assert torch.allclose(spread, prior.deviation.norm().expand(2, 3))
