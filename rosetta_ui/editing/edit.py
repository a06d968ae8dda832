"""An edit as a problem for `optimise.descend`: move the latent until the chosen maps move.

Knows a generator, the chosen units with their statistics, and what is asked; knows no page, no
backbone and no file. The forward pass ends after the last layer that holds a chosen unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rosetta_ui.affine import STILL, Affine
from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.latents import Prior
from rosetta_ui.editing.losses import ChosenUnits, correlation
from rosetta_ui.editing.optimise import Problem
from rosetta_ui.editing.targets import affine_of, mask_of, paste, placed, scale, warp
from rosetta_ui.edits import Edit, Paste, Scale
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec, Space

Maps = Mapping[str, Tensor]

REGION_WEIGHT = 2.0
"""Cells of a region that is changed weigh three times as much, and nine in a correlation: a tenth
of the picture then counts as much as the rest. Without it a pasted box was not drawn at all."""

SEEN = 1e-4
"""A cell counts when its whole bilinear source is inside, up to float32's rounding."""

COARSE_SHARE = 0.5
"""Share of the steps after which all rows of w+ move; a quarter of them moves from the start."""


@dataclass(frozen=True)
class Target:
    """What one layer's chosen maps should become.

    Attributes:
        maps: [n, units, H, W], standardised.
        mask: [H, W], [units, H, W] or [n, 1 or units, H, W], weights of the cells. Those whose
            source lies outside the frame do not count, so that the generator is free to draw what
            comes in there.
        strength: compare values rather than shapes: correlation cannot see a map's strength.
    """

    maps: Tensor
    mask: Tensor
    strength: bool = False

    def loss(self, maps: Tensor) -> Tensor:
        """[n, units]: −correlation, or the squared difference in deviations."""
        got, wanted = maps * self.mask, self.maps * self.mask
        if self.strength:
            weight = self.mask.sum((-2, -1)).clamp_min(1)
            return (got - wanted).square().sum((-2, -1)) / weight
        return -correlation(got, wanted)

    @classmethod
    def side_by_side(cls, each: Sequence[Target]) -> Target:
        """Targets of one picture each as those of a batch."""
        if len(each) == 1:
            return each[0]
        masks = torch.stack([target.mask for target in each])
        if masks.ndim == 3:
            masks = masks[:, None]
        return cls(torch.cat([target.maps for target in each]), masks, each[0].strength)


def targets_of(
    maps: Maps, edits: Sequence[Edit], *, source: Maps | None = None
) -> dict[str, Target]:
    """The targets of some edits, applied in order to the generator's own maps.

    Args:
        maps: layer → [n, units, H, W], standardised, of the starting picture.
        edits: one or more.
        source: layer → [n, units, H, W] of the picture that `Paste` copies from.

    Raises:
        BadRequestError: no edit, an impossible one, or a `Paste` without a source.
    """
    if not edits:
        raise BadRequestError("No edit was asked for.", "Drag, zoom, or choose a region.")
    return {
        name: _target(each, edits, None if source is None else source[name])
        for name, each in maps.items()
    }


def moved_targets(maps: Maps, ways: Mapping[str, Affine]) -> dict[str, Target]:
    """The targets of maps of which each layer goes its own way.

    Args:
        maps: layer → [n, units, H, W], standardised, of the starting picture.
        ways: layer → its move.
    """
    found: dict[str, Target] = {}
    for name, each in maps.items():
        seen = warp(torch.ones_like(each[0, :1]), ways[name])[0]
        mask = (seen > 1 - SEEN).to(each.dtype)
        found[name] = Target(warp(each, ways[name]), mask)
    return found


def _target(maps: Tensor, edits: Sequence[Edit], source: Tensor | None) -> Target:
    size = (maps.shape[-2], maps.shape[-1])
    seen = torch.ones(1, *size, dtype=maps.dtype, device=maps.device)
    weight = torch.ones_like(seen[0])
    strength = False
    for edit in edits:
        if isinstance(edit, Scale):
            maps, strength = torch.stack([scale(each, edit) for each in maps]), True
            if edit.region is not None:
                weight = weight + REGION_WEIGHT * mask_of(edit.region, size).to(weight)
        elif isinstance(edit, Paste):
            if source is None:
                raise BadRequestError("There is no picture to copy from.", "Choose a source.")
            maps = torch.stack([paste(a, b, edit) for a, b in zip(maps, source, strict=True)])
            weight = weight + REGION_WEIGHT * mask_of(placed(edit), size).to(weight)
        else:
            maps = warp(maps, affine_of(edit))
            seen = warp(seen, affine_of(edit))
    return Target(maps, (seen[0] > 1 - SEEN).to(maps.dtype) * weight, strength)


@dataclass(frozen=True)
class Coordinates:
    """What is optimised, and how it becomes latents.

    z moves on the sphere of its own norm: natural z of d entries have a mean square within
    √(2/d) of 1, and free descent leaves that shell (mean square 1.5 after 200 steps of a 12 % shift
    on the DCGAN, against 1.15 for the 86th percentile). A band around the shell may be allowed.
    w and w+ move in natural deviations along the eigenvectors of natural w (`Prior`), so that a
    pull to the start is a pull to natural w.

    Attributes:
        space: z, w or w+.
        start: [n, ...] latents.
        prior: of w at the ψ in use; unused for z.
        class_index: for class-conditional generators.
        psi: truncation that applies to z.
        band: how far the mean square of z may lie from 1, in natural deviations √(2/d); 0 keeps the
            start's own norm. A start outside the band widens it.
        reach: how many natural deviations a row of w may move in all; 0 for any number.
        moved: how early maps are moved: once for the whole batch, or once for each start.
    """

    space: Space
    start: Tensor
    prior: Prior | None = None
    class_index: int | None = None
    psi: float = 1.0
    band: float = 0.0
    reach: float = 0.0
    moved: tuple[Affine, ...] = (STILL,)

    def moved_of(self, which: int) -> Affine:
        """How the early maps of one start are moved."""
        return self.moved[which if len(self.moved) > 1 else 0]

    def origin(self) -> Tensor:
        """Coordinates of the start."""
        return self.start.clone() if self.space == "z" else torch.zeros_like(self.start)

    def latents(self, at: Tensor) -> Tensor:
        """Coordinates → latents [n, ...], differentiably."""
        if self.space == "z":
            own = at.norm(dim=1, keepdim=True).clamp_min(1e-12)
            low, high = self._norms()
            return at * (torch.minimum(torch.maximum(own, low), high) / own)
        if self.prior is None:
            raise ValueError(f"coordinates in {self.space} need a prior")
        if self.reach:
            own = at.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            at = at * (self.reach / own).clamp_max(1)
        return self.start + (at * self.prior.deviation) @ self.prior.basis.T

    def _norms(self) -> tuple[Tensor, Tensor]:
        """Least and largest norm of z: [n, 1] each."""
        norm, size = self.start.norm(dim=1, keepdim=True), self.start.shape[1]
        if not self.band:
            return norm, norm
        share = self.band * (2 / size) ** 0.5
        low, high = (size * max(1 - share, 0)) ** 0.5, (size * (1 + share)) ** 0.5
        return norm.clamp_max(low), norm.clamp_min(high)

    def step_size(self, at: Tensor) -> Tensor:
        """Mean squared step from the start, in natural deviations: [n]."""
        step = self.latents(at) - self.start if self.space == "z" else at
        return step.square().flatten(1).mean(1)


@dataclass(frozen=True)
class Colours:
    """The picture itself as one more map that moves: it keeps who and what is in it.

    Attributes:
        target: [n, 3, S, S] in [-1, 1], of the picture or of a small one, moved likewise.
        weight: of the mean squared difference.
    """

    target: Target
    weight: float

    def loss(self, images: Tensor) -> Tensor:
        """[n]: weighted mean squared difference where the target is known."""
        return self.weight * replace(self.target, strength=True).loss(images).mean(1)


class EditProblem:
    """Loss terms of an edit, for `descend`.

    Args:
        drawer: draws the maps of the chosen units' layers, and the picture where colours are asked.
        chosen: the units whose maps are asked for.
        targets: layer → target, from `targets_of`.
        coordinates: what is optimised.
        colours: what is asked of the picture itself; None asks nothing.
        pull: weight of the mean squared step in natural deviations, or [n] of them.
    """

    def __init__(
        self,
        drawer: Drawer,
        chosen: ChosenUnits,
        targets: Mapping[str, Target],
        coordinates: Coordinates,
        *,
        colours: Colours | None = None,
        pull: float | Tensor = 0.0,
    ) -> None:
        self._drawer = drawer
        self._chosen = chosen
        self._targets = targets
        self._colours = colours
        self.coordinates = coordinates
        self._pull = pull
        self._pulls = bool(torch.as_tensor(pull).any())

    def __call__(self, at: Tensor, step: int) -> dict[str, Tensor]:
        """Name → loss term [n] at some coordinates."""
        del step
        where = self.coordinates
        images, raw = self._drawer.draw(where.latents(at), where.space)
        maps = self._chosen.standardise(raw)
        each = torch.cat([self._targets[n].loss(m) for n, m in maps.items()], dim=1)
        terms = {"maps": each.mean(1)}
        if self._colours is not None and images is not None:
            terms["colours"] = self._colours.loss(images)
        if self._pulls:
            terms["pull"] = self._pull * where.step_size(at)
        return terms


def early_rows_first(problem: Problem, first: int, steps: int) -> Problem:
    """A problem in w+ in which the rows of early layers move at once and the others later.

    Args:
        problem: its coordinates are [n, rows, d].
        first: steps that were made before it.
        steps: of the whole descent.
    """
    free_after = COARSE_SHARE * steps

    def coarse(at: Tensor, step: int) -> Mapping[str, Tensor]:
        done = first + step
        return problem(coarse_rows(at, done / free_after) if done < free_after else at, step)

    return coarse


def coarse_rows(at: Tensor, done: float) -> Tensor:
    """The same coordinates [n, rows, d], of which only the first rows have a gradient.

    Args:
        at: coordinates.
        done: 0 leaves a quarter of the rows, 1 all of them.
    """
    rows = at.shape[1]
    free = max(round(rows * (0.25 + 0.75 * done)), 1)
    return torch.cat([at[:, :free], at[:, free:].detach()], dim=1)


def chosen_maps(
    generator: Generator,
    chosen: ChosenUnits,
    where: Coordinates,
    latents: Tensor | None = None,
    *,
    check: Callable[[LayerSpec], None] | None = None,
) -> dict[str, Tensor]:
    """Chosen units' standardised maps, from a forward pass that ends after their last layer.

    Args:
        generator: draws.
        chosen: units.
        where: the space, class and ψ.
        latents: [n, ...] in that space; None takes the start.
        check: called after every tapped layer; may raise.

    Returns:
        Layer → [n, units, H, W].
    """
    with (
        generator.moving(*where.moved),
        tap(generator.net, chosen.layers, stop=True, on_output=check) as maps,
    ):
        generator.synthesise_from(
            where.start if latents is None else latents,
            where.space,
            class_index=where.class_index,
            psi=where.psi,
        )
    return chosen.standardise(maps)
