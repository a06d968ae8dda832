"""What an edit asks of the optimiser: where it starts, and its targets, stage by stage.

A batch holds restarts of one strength, or one start for each rung of a ladder. Knows a generator
and its `EditSetup`; knows no frame, no page and no backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rosetta_ui.affine import Affine, then, undoing
from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.edit import (
    Colours,
    Coordinates,
    EditProblem,
    Maps,
    Target,
    chosen_maps,
    early_rows_first,
    moved_targets,
    targets_of,
)
from rosetta_ui.editing.keeping import Keeping, kept_units
from rosetta_ui.editing.latents import PRIOR_SEED, natural_z
from rosetta_ui.editing.optimise import Problem, Schedule
from rosetta_ui.editing.preview_head import PreviewHead
from rosetta_ui.editing.setup import EditSetup, usual_units
from rosetta_ui.editing.targets import followed, mask_of
from rosetta_ui.edits import (
    Edit,
    EditStep,
    Paste,
    PictureState,
    Rung,
    Scale,
    only_moves,
    only_strengths,
    part_of,
)
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.moving import done_at
from rosetta_ui.types import Latents, LayerSpec, Space

NATURAL_SEED = PRIOR_SEED - 6
"""Of the natural pictures that restarts begin from: none of them calibrates a yardstick."""


class Course:
    """One edit of one picture, ready to be descended.

    Args:
        generator: draws.
        setup: statistics for the state's ψ and class.
        state: where it begins.
        step: what is asked.
        check: called inside every forward pass; may raise `Cancelled`.
        head: draws small pictures of a large generator, for the colours that are asked for.

    Attributes:
        where: coordinates of the whole batch.
        stages: how many parts the target has.

    Raises:
        BadRequestError: an impossible edit, no unit, or a space that the generator lacks.
    """

    def __init__(
        self,
        generator: Generator,
        setup: EditSetup,
        state: PictureState,
        step: EditStep,
        check: Callable[[], None],
        head: PreviewHead | None = None,
    ) -> None:
        settings = step.settings
        if settings.space not in generator.card.spaces:
            raise BadRequestError(
                f"'{generator.card.name}' has no {settings.space} space.",
                f"It has {', '.join(generator.card.spaces)}.",
            )
        self._generator, self._step, self._check, self._head = generator, step, check, head
        self._chosen = setup.choose(generator, step.units)
        self._keeping: Keeping | None = None
        kept = kept_units(usual_units(generator.layers), step.units, step.edits)
        if settings.keep and kept:
            self._chosen = setup.choose(generator, (*step.units, *kept))
            self._keeping = Keeping.of(self._chosen, step.units, settings.keep)
        start = in_space(generator, state.latents, settings.space)
        one = Coordinates(
            settings.space,
            start,
            setup.prior,
            state.class_index,
            state.psi,
            settings.band,
            moved=(state.latents.moved,),
        )
        if settings.early and not only_moves(step.edits):
            raise BadRequestError(
                "Early maps can only be moved, and this edit does more than that.",
                "Leave early layers out of it.",
            )
        self._before = state.latents.moved
        # A neuron's strength says nothing of the colours that it should have, but elsewhere they
        # stay as they were.
        self._regions = [e.region for e in step.edits if isinstance(e, Scale)]
        self._coloured = bool(settings.colours) and (
            not self._regions or (only_strengths(step.edits) and None not in self._regions)
        )
        with torch.no_grad():
            self._maps: Maps = self._seen(one)
            self._source: Maps = self._maps
            self._image = self._copied = self._drawn(one) if self._coloured else None
            if step.source is not None and any(isinstance(e, Paste) for e in step.edits):
                other = standing_at(generator, setup, step.source)
                self._source = self._seen(other)
                self._copied = self._drawn(other) if self._coloured else None
            self.stages = min(settings.stages, settings.steps)
            self.where = self._starts(one)

    def problem(self, stage: int) -> Problem:
        """The loss of a stage, from 0."""
        settings, ladder = self._step.settings, self._step.ladder
        share = (stage + 1) / self.stages
        where = replace(self.where, moved=self._moved(share))
        pulls = torch.tensor([rung.pull for rung in ladder]).to(self.where.start)
        problem = EditProblem(
            self._drawer(where, self._chosen.layers, self._image is not None),
            self._chosen,
            self._targets(share),
            where,
            colours=self._colours(share),
            pull=pulls if ladder else settings.pull,
        )
        if not settings.coarse_first or settings.space != "w+":
            return problem
        first = sum(self.schedule(i).steps for i in range(stage))
        return early_rows_first(problem, first, settings.steps)

    def schedule(self, stage: int) -> Schedule:
        """How a stage descends; all of them together have the steps of the edit."""
        settings = self._step.settings
        steps, rest = divmod(settings.steps, self.stages)
        return Schedule(steps + (stage < rest), settings.learning_rate, patience=settings.patience)

    def origin(self) -> Tensor:
        """Coordinates of the first stage's starts; the same every time."""
        origin = self.where.origin()
        if len(origin) == 1 or self._step.ladder or self._step.settings.natural:
            return origin
        stream = torch.Generator().manual_seed(0)
        noise = torch.randn(origin.shape, generator=stream).to(origin)
        noise[0] = 0
        return origin + (noise if self.where.space == "z" else 0.3 * noise)

    def _seen(self, where: Coordinates, latents: Tensor | None = None) -> dict[str, Tensor]:
        return chosen_maps(
            self._generator, self._chosen, where, latents, check=lambda _spec: self._check()
        )

    def _drawer(self, where: Coordinates, layers: tuple[LayerSpec, ...], pictures: bool) -> Drawer:
        return Drawer(
            self._generator,
            layers,
            pictures,
            self._head,
            where.class_index,
            where.psi,
            self._check,
            where.moved,
        )

    def _drawn(self, where: Coordinates) -> Tensor:
        """The picture that colours are compared in: [1, 3, S, S]."""
        images, _ = self._drawer(where, (), True).draw(where.start, where.space)
        if images is None:
            raise ValueError("a drawer of pictures gives one")
        return images

    def _colours(self, share: float) -> Colours | None:
        if self._image is None or self._copied is None:
            return None
        if self._regions:
            return Colours(self._elsewhere(self._image), self._step.settings.colours)
        maps, source = {"colours": self._image}, {"colours": self._copied}
        each = [
            targets_of(maps, self._parts(share * rung.share), source=source)["colours"]
            for rung in self._rungs()
        ]
        return Colours(Target.side_by_side(each), self._step.settings.colours)

    def _elsewhere(self, image: Tensor) -> Target:
        """A picture as it is, outside of all regions in which strengths change."""
        mask = torch.ones(image.shape[-2:], dtype=image.dtype, device=image.device)
        for region in self._regions:
            if region is not None:
                mask = mask * ~mask_of(region, (mask.shape[0], mask.shape[1])).to(mask.device)
        return Target(image, mask)

    def _targets(self, share: float) -> dict[str, Target]:
        each: list[dict[str, Target]] = []
        for rung in self._rungs():
            edits = self._parts(share * rung.share)
            if self._step.settings.early:
                each.append(moved_targets(self._maps, self._ways(edits)))
                continue
            wanted = targets_of(self._maps, edits, source=self._source)
            if self._keeping is not None:
                wanted = self._keeping.targets(wanted, self._maps, edits)
            each.append(wanted)
        return {name: Target.side_by_side([t[name] for t in each]) for name in each[0]}

    def _moved(self, share: float) -> tuple[Affine, ...]:
        """How early maps are moved at a share of the edit: once for all, or once a rung."""
        if not self._step.settings.early:
            return (self._before,)
        return tuple(
            followed(self._before, self._parts(share * rung.share)) for rung in self._rungs()
        )

    def _ways(self, edits: Sequence[Edit]) -> dict[str, Affine]:
        """How the maps of each layer should move: as far as the early ones take them there.

        Those before the last layer that is moved cannot move further, and keep what they hold.
        """
        layers, movable = self._generator.layers, self._generator.movable
        before = done_at(layers, movable, self._before)
        after = done_at(layers, movable, followed(self._before, edits))
        return {spec.name: then(undoing(before[spec.name]), after[spec.name]) for spec in layers}

    def _rungs(self) -> tuple[Rung, ...]:
        return self._step.ladder or (Rung(1.0, self._step.settings.pull),)

    def _parts(self, share: float) -> list[Edit]:
        return [part_of(edit, share) for edit in self._step.edits]

    def _starts(self, one: Coordinates) -> Coordinates:
        """The picture once for every rung or restart, or natural pictures in its place."""
        settings, ladder = self._step.settings, self._step.ladder
        count = len(ladder) or settings.restarts
        start = one.start.expand(count, *one.start.shape[1:]).contiguous()
        if count > 1 and settings.natural and not ladder:
            start = torch.cat([one.start, self._natural(one, count - 1)])
        return replace(one, start=start, moved=self._moved(1.0))

    def _natural(self, one: Coordinates, count: int) -> Tensor:
        """The natural pictures whose maps fit the target best: latents [count, ...]."""
        targets, one = self._targets(1.0), replace(one, moved=self._moved(1.0))
        batch = 64 if max(self._generator.card.image_size) <= 128 else 4
        losses: list[Tensor] = []
        found: list[Tensor] = []
        for first in range(0, self._step.settings.natural, batch):
            z = natural_z(self._generator, range(first, first + batch), NATURAL_SEED)
            latents = z
            if one.space != "z":
                w = self._generator.to_w(z, class_index=one.class_index, psi=one.psi)
                latents = w if one.space == "w+" else w[:, 0]
            maps = self._seen(one, latents)
            each = torch.cat([targets[name].loss(m) for name, m in maps.items()], dim=1)
            losses.append(each.mean(1))
            found.append(latents)
        best = torch.cat(losses).argsort()[:count]
        return torch.cat(found)[best].clone()


def standing_at(generator: Generator, setup: EditSetup, state: PictureState) -> Coordinates:
    """Coordinates of a picture as it is."""
    return Coordinates(
        state.latents.space,
        torch.from_numpy(state.latents.values).to(generator.device),
        setup.prior,
        state.class_index,
        state.psi,
        moved=(state.latents.moved,),
    )


def in_space(generator: Generator, latents: Latents, space: Space) -> Tensor:
    """Latents [1, ...] in another space of the same generator.

    Raises:
        BadRequestError: there is no way back, as from w to z.
    """
    values = torch.from_numpy(np.ascontiguousarray(latents.values)).to(generator.device)
    if latents.space == space:
        return values
    if latents.space == "z":
        with torch.no_grad():
            w = generator.to_w(values, class_index=latents.class_index, psi=latents.psi)
            return (w if space == "w+" else w[:, 0]).clone()
    if (latents.space, space) == ("w", "w+"):
        return values[:, None].expand(-1, generator.n_ws, -1).clone()
    raise BadRequestError(
        f"This picture's latent is in {latents.space}, from which there is no way to {space}.",
        f"Edit it in {latents.space}.",
    )
