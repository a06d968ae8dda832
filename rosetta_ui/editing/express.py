"""Images that express a neuron: latents moved until its unit is as active as natural ones allow.

The published idea of activation inversion, as a problem for `optimise.descend`: several natural
images are the starts, the unit's mean standardised activation is raised, and a pull to the start
(in natural deviations) keeps the latents natural. Only the generator's own unit is asked for: that
its partners in the backbones light up too is then evidence, not a consequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.editing.edit import Coordinates, chosen_maps
from rosetta_ui.editing.latents import Prior
from rosetta_ui.editing.losses import ChosenUnits
from rosetta_ui.editing.optimise import Descent, Schedule, descend
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.models.generator import Generator
from rosetta_ui.types import LayerSpec, Space

STEPS = 60
PULL = 0.25
"""Of the mean squared step, in natural deviations, against activity in deviations of the unit."""

RATES: Mapping[Space, float] = {"z": 0.12, "w": 0.05, "w+": 0.05}


@dataclass(frozen=True)
class Expressing:
    """What is asked for.

    Attributes:
        chosen: the units, with their statistics.
        where: the starts, and the coordinates that move.
        pull: weight of the step.
        check: called after every tapped layer; may raise.
    """

    chosen: ChosenUnits
    where: Coordinates
    pull: float = PULL
    check: Callable[[], None] = lambda: None


def activity(maps: Mapping[str, Tensor]) -> Tensor:
    """Mean activation of the chosen units, in their own deviations: [n].

    Args:
        maps: layer → [n, units, H, W], standardised.
    """
    return torch.cat([each.mean((-2, -1)) for each in maps.values()], dim=1).mean(1)


def express(generator: Generator, asked: Expressing, steps: int = STEPS) -> Iterator[Descent]:
    """Raise the units' activity from every start at once; yields once a step.

    Raises:
        OptimisationDivergedError: the activity is not finite.
    """

    def check(_layer: LayerSpec) -> None:
        asked.check()

    def problem(at: Tensor, _step: int) -> dict[str, Tensor]:
        latents = asked.where.latents(at)
        maps = chosen_maps(generator, asked.chosen, asked.where, latents, check=check)
        return {
            "activity": -activity(maps),
            "pull": asked.pull * asked.where.step_size(at),
        }

    rate = RATES[asked.where.space]
    yield from descend(problem, asked.where.origin(), Schedule(steps, rate))


def coordinates(
    generator: Generator, setup: EditSetup, z: Tensor, psi: float, class_index: int | None
) -> Coordinates:
    """Where natural z begin to move: w+ where the generator has it, else z near its own sphere.

    Args:
        generator: draws.
        setup: has the prior of w.
        z: [n, latent].
        psi: truncation.
        class_index: for class-conditional generators.
    """
    if not generator.n_ws:
        # A band of three natural deviations: on the sphere itself activity rises a third less.
        return Coordinates("z", z, None, class_index, psi, band=3.0)
    with torch.no_grad():
        start = generator.to_w(z, class_index=class_index, psi=psi).clone()
    prior: Prior = setup.prior
    return Coordinates("w+", start, prior, class_index, psi)
