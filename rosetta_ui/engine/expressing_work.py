"""The part of expressing a neuron that needs the device; called through `dispatch`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.edit import Coordinates
from rosetta_ui.editing.express import Expressing, coordinates, express
from rosetta_ui.editing.latents import fit_prior
from rosetta_ui.editing.losses import ChosenUnits
from rosetta_ui.editing.session import start_state
from rosetta_ui.engine.editing_work import cancel_check
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.matching.sources import Images
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.memory import out_of_memory
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import MatchRequest, Space, Unit

Shown = dict[str, Any]
"""picture: HWC uint8; maps: unit → [h, w]; means: unit → mean activation."""

FRAME_SHARE = 4
"""Pictures on the way take at most a fifth of the time."""

MAP_SIDE = 64


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The task `express` of `dispatch`.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `request` (of the match), `units` (the anchor, then partners in backbones that are
            here), `starts` (numbers of natural images), `moments` (mean and deviation of the anchor
            over the data set), `steps` and `job`.

    Yields:
        {step, steps, shown}: shown is one `Shown` an image, or None where none were drawn; the
        first has the natural images, the last the best that were found.
    """
    request: MatchRequest = values["request"]
    units: Sequence[Unit] = values["units"]
    steps: int = values["steps"]
    check = cancel_check(bench, values)
    generator = bench.models.generator(request.generator)
    with out_of_memory(bench.models.device, f"{len(values['starts'])} images"):
        state = start_state(generator, request.seed, request.class_index, request.psi)
        space: Space = "w" if generator.n_ws else "z"
        prior = fit_prior(generator, space, psi=state.psi, class_index=state.class_index)
        chosen = _chosen(generator, units[0], values["moments"])
        drawn = generator.sample(values["starts"], request.seed, request.class_index, request.psi)
        z = torch.from_numpy(drawn.values).to(generator.device)
        where = coordinates(generator, prior, z, state.psi, state.class_index)
        look = _looker(bench, generator, units, where, check)
        yield {"step": 0, "steps": steps, "shown": look(where.start)}
        last, due = None, time.monotonic() + 1.0
        for last in express(generator, Expressing(chosen, where, check=check), steps):
            shown = None
            if time.monotonic() > due and last.step < steps:
                begun = time.monotonic()
                shown = look(where.latents(last.best))
                due = time.monotonic() + FRAME_SHARE * (time.monotonic() - begun)
            yield {"step": last.step, "steps": steps, "shown": shown}
        if last is not None:
            shown = look(where.latents(last.best))
            yield {"step": steps, "steps": steps, "shown": shown}


def _chosen(generator: Generator, anchor: Unit, moments: tuple[float, float]) -> ChosenUnits:
    """The anchor alone, standardised by the match: also of layers that are too fine for edits."""
    (spec,) = [each for each in generator.layers if each.name == anchor.layer]
    mean, deviation = (
        {spec.name: torch.full((spec.channels,), value, device=generator.device)}
        for value in moments
    )
    return ChosenUnits.choose([spec], [anchor], mean, deviation)


def _looker(
    bench: Workbench,
    generator: Generator,
    units: Sequence[Unit],
    where: Coordinates,
    check: Callable[[], None],
) -> Callable[[Tensor], list[Shown]]:
    """A function that draws latents and looks at them with every unit's model."""
    backbones = [bench.models.backbone(unit.model) for unit in units[1:]]

    def look(latents: Tensor) -> list[Shown]:
        with torch.inference_mode():
            # One image after the other: eight 1024 px ones would not fit beside the models.
            return [one(latents[at : at + 1]) for at in range(len(latents))]

    def one(latents: Tensor) -> Shown:
        check()
        (own,) = [spec for spec in generator.layers if spec.name == units[0].layer]
        with tap(generator.net, [own]) as found:
            images = Images(
                generator.synthesise_from(
                    latents, where.space, class_index=where.class_index, psi=where.psi
                )
            )
        maps = {units[0]: found[own.name][0, units[0].channel]}
        for unit, backbone in zip(units[1:], backbones, strict=True):
            check()
            card = backbone.card
            prepared = backbone.normalise(images.resized(card.image_size, card.interpolation))
            (spec,) = [each for each in backbone.layers if each.name == unit.layer]
            with tap(backbone.net, [spec], stop=True) as seen:
                backbone.forward(prepared)
            maps[unit] = seen[spec.name][0, unit.channel]
        return {
            "picture": images.pictures()[0],
            "maps": {unit: _small(each) for unit, each in maps.items()},
            "means": {unit: float(each.float().mean()) for unit, each in maps.items()},
        }

    return look


def _small(each: Tensor) -> NDArray[np.float32]:
    side = (min(each.shape[0], MAP_SIDE), min(each.shape[1], MAP_SIDE))
    small = functional.adaptive_avg_pool2d(each.float()[None, None], side)[0, 0]
    return small.cpu().numpy()
