"""Images that express a neuron: latents moved until its unit is as active as natural ones allow.

The published idea of activation inversion, as a problem for `optimise.descend`: several natural
images are the starts, the unit's mean standardised activation is raised, and a pull to the start
(in natural deviations) and a limit on the way from it keep the latents natural. Only the
generator's own unit is asked for: that its partners in the backbones light up too is then evidence,
not a consequence.
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
from rosetta_ui.models.generator import Generator
from rosetta_ui.types import LayerSpec, Space

STEPS = 60
PULL = 0.25
"""Of the mean squared step, in natural deviations, against activity in deviations of the unit."""

REACH = 4.0
"""Natural deviations that w may move in all, by the same step for every layer.

Styles are linear in w, so activity grows without bound: with a row of w+ for each layer it reached
9 million deviations of a unit of MobileStyleGAN, in white pictures (within 8 deviations a row: 400,
in blurs). One step for all layers, of 4, brought 5.4 and 1.7 from 0.7 and 0.3: natural faces before
the trees that the unit stands for, seen by its partners in three of four backbones. At 8 a face
melted.
"""

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

    origin = asked.where.origin()
    if asked.where.space != "z":
        origin = origin[:, :1]  # one step for every layer: see REACH
    yield from descend(problem, origin, Schedule(steps, RATES[asked.where.space]))


def coordinates(
    generator: Generator, prior: Prior, z: Tensor, psi: float, class_index: int | None
) -> Coordinates:
    """Where natural z begin to move: w where the generator has it, else z near its own sphere.

    Args:
        generator: draws.
        prior: of w at this ψ, or of z.
        z: [n, latent].
        psi: truncation.
        class_index: for class-conditional generators.
    """
    if not generator.n_ws:
        # A band of three natural deviations: on the sphere itself activity rises a third less.
        return Coordinates("z", z, None, class_index, psi, band=3.0)
    with torch.no_grad():
        start = generator.to_w(z, class_index=class_index, psi=psi).clone()
    return Coordinates("w+", start, prior, class_index, psi, reach=REACH)
