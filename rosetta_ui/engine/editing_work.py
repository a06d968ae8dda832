"""The parts of editing that need the device; called through `dispatch`, or while it is held.

What an edit stands on (statistics, prior, preview head) is kept in the cache: every later edit and
every replay then uses the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rosetta_ui.affine import STILL
from rosetta_ui.editing.course import standing_at
from rosetta_ui.editing.edit import chosen_maps
from rosetta_ui.editing.preview_head import PreviewHead
from rosetta_ui.editing.session import (
    EditBench,
    drawn,
    edit,
    replay,
    start_state,
)
from rosetta_ui.editing.setup import EditSetup, editable
from rosetta_ui.edits import EditFrame, PictureState
from rosetta_ui.engine.requests import model_key
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.memory import out_of_memory
from rosetta_ui.store.keys import digest
from rosetta_ui.types import Unit

GIVE_WAY_SECONDS = 0.25
"""An edit gives way this often: a match that holds the device between any two of its steps would
make each wait for a batch of the other."""

ACTIVE_UNITS = 24

ELSEWHERE = (
    "Made on another machine or by another version: its steps end elsewhere here, so that the "
    "picture is drawn from the recipe's own latent."
)

FAR = 10.0
"""Root mean square of z, 1 for natural ones, beyond which nothing is left to look at: edits that
moved z freely ended at 1.2."""


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[Any]:
    """The task `edit` of `dispatch`.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `what` and what it takes: `first` (generator, seed, class_index, psi), `edit` (job,
            state, step), `replay` (job, state), `draw` (state), `active` (state, x, y), `prepare`
            (state).

    Yields:
        `EditFrame`s; units for `active`; nothing for `prepare`.
    """
    yield from _WHAT[values["what"]](bench, values)


def edit_bench(bench: Workbench, state: PictureState, check: Callable[[], None]) -> EditBench:
    """What edits of a state's generator, ψ and class stand on, from the cache or made now."""
    generator = bench.models.generator(state.generator)
    setup = edit_setup(bench, generator, state, check)
    return EditBench(generator, setup, _head(bench, generator, state, check))


def edit_key(
    bench: Workbench, generator: Generator, state: PictureState, kind: str, **more: Any
) -> str:
    """The key of what edits of a generator at a ψ and a class stand on."""
    inputs = {
        "model": model_key(generator.card, bench.weights),
        "psi": state.psi,
        "class": state.class_index,
        **more,
    }
    return digest(kind, inputs)


def edit_setup(
    bench: Workbench, generator: Generator, state: PictureState, check: Callable[[], None]
) -> EditSetup:
    """Statistics for a state's ψ and class, from the cache or made now."""
    key = edit_key(bench, generator, state, "edit-setup")
    arrays = bench.store.get(key)
    if arrays is None:
        setup = EditSetup.fit(generator, state.psi, state.class_index, check)
        bench.store.put(key, setup.arrays(), "edit-setup")
        arrays = setup.arrays()
    return EditSetup.from_arrays(arrays, generator.device)


def _head(
    bench: Workbench, generator: Generator, state: PictureState, check: Callable[[], None]
) -> PreviewHead | None:
    spec = PreviewHead.wanted(generator)
    if spec is None:
        return None
    key = edit_key(bench, generator, state, "preview-head", layer=spec.name)
    arrays = bench.store.get(key)
    if arrays is None:
        head = PreviewHead.fit(generator, state.psi, state.class_index, check)
        if head is None:
            return None
        bench.store.put(key, head.arrays(), "preview-head")
        arrays = head.arrays()
    return PreviewHead.from_arrays(spec.name, arrays, generator.device)


def cancel_check(bench: Workbench, values: Mapping[str, Any]) -> Callable[[], None]:
    """A function for inside a job: ends it when asked, and gives way to others now and then."""
    handle = bench.handle(str(values.get("job", "")))
    given = time.monotonic()

    def check() -> None:
        nonlocal given
        if handle is not None:
            handle.cancel.check()
        if time.monotonic() - given > GIVE_WAY_SECONDS:
            bench.pause(handle)
            given = time.monotonic()

    return check


def _first(bench: Workbench, values: Mapping[str, Any]) -> Iterator[EditFrame]:
    generator = bench.models.generator(values["generator"])
    with out_of_memory(generator.device, f"one image of {values['generator']}"):
        state = start_state(generator, values["seed"], values["class_index"], values["psi"])
        yield EditFrame(0, 0, 0.0, drawn(generator, state.latents), state=state)


def _draw(bench: Workbench, values: Mapping[str, Any]) -> Iterator[EditFrame]:
    state: PictureState = values["state"]
    generator = bench.models.generator(state.generator)
    check_fits(generator, state)
    with out_of_memory(generator.device, f"one image of {state.generator}"):
        yield EditFrame(0, 0, 0.0, drawn(generator, state.latents), state=state)


def _edit(bench: Workbench, values: Mapping[str, Any]) -> Iterator[EditFrame]:
    check, state = cancel_check(bench, values), values["state"]
    with out_of_memory(bench.models.device, "an edit"):
        yield from edit(edit_bench(bench, state, check), state, values["step"], check)


def _replay(bench: Workbench, values: Mapping[str, Any]) -> Iterator[EditFrame]:
    """Every edit again; where that ends elsewhere than the recipe, its own picture is the last.

    A descent in other arithmetic may take another way: in float64 the DCGAN's turns and zooms ended
    up to 29/255 away. The picture of one latent differs by 2/255 at most.
    """
    check, state = cancel_check(bench, values), values["state"]
    generator = bench.models.generator(state.generator)
    check_fits(generator, state)
    with out_of_memory(bench.models.device, "an edit"):
        last: EditFrame | None = None
        for last in replay(edit_bench(bench, state, check), state, check):
            yield last
        if last is None or last.state is None:
            return
        again, kept = last.state.latents, state.latents
        if again.moved != kept.moved or not np.array_equal(again.values, kept.values):
            picture = drawn(generator, state.latents)
            yield replace(last, picture=picture, state=state, note=ELSEWHERE)


def _prepare(bench: Workbench, values: Mapping[str, Any]) -> Iterator[Any]:
    edit_bench(bench, values["state"], cancel_check(bench, values))
    yield from ()


def _active(bench: Workbench, values: Mapping[str, Any]) -> Iterator[tuple[Unit, ...]]:
    """The units whose standardised map stands highest at a place above its own mean."""
    state: PictureState = values["state"]
    found = edit_bench(bench, state, cancel_check(bench, values))
    layers = editable(found.generator.layers)
    units = [spec.unit(c) for spec in layers for c in range(spec.channels)]
    chosen = found.setup.choose(found.generator, units)
    where = standing_at(found.generator, found.setup, state)
    scored: list[tuple[float, Unit]] = []
    with torch.inference_mode():
        for name, maps in chosen_maps(found.generator, chosen, where).items():
            spec = next(s for s in layers if s.name == name)
            height, width = maps.shape[-2:]
            row = min(int(values["y"] * height), height - 1)
            column = min(int(values["x"] * width), width - 1)
            there = (maps[0, :, row, column] - maps[0].mean((1, 2))).tolist()
            channels = chosen.channels[name].tolist()
            scored += [(v, spec.unit(c)) for v, c in zip(there, channels, strict=True)]
    scored.sort(key=lambda pair: -pair[0])
    yield tuple(unit for _, unit in scored[:ACTIVE_UNITS])


def _maps(bench: Workbench, values: Mapping[str, Any]) -> Iterator[NDArray[np.uint8]]:
    """Some units' maps of a picture: uint8 [units, 16, 16], ±3 deviations from their means."""
    state: PictureState = values["state"]
    units: tuple[Unit, ...] = values["units"]
    found = edit_bench(bench, state, cancel_check(bench, values))
    chosen = found.setup.choose(found.generator, units)
    where = standing_at(found.generator, found.setup, state)
    out = np.zeros((len(units), 16, 16), np.uint8)
    with torch.inference_mode():
        for name, maps in chosen_maps(found.generator, chosen, where).items():
            small = functional.interpolate(maps, size=(16, 16), mode="area")[0]
            levels = ((small + 3) * (255 / 6)).clamp(0, 255).to(torch.uint8).cpu().numpy()
            place = {c: i for i, c in enumerate(chosen.channels[name].tolist())}
            for row, unit in enumerate(units):
                if unit.layer == name and unit.channel in place:
                    out[row] = levels[place[unit.channel]]
    yield out


_WHAT: Mapping[str, Callable[[Workbench, Mapping[str, Any]], Iterator[Any]]] = {
    "first": _first,
    "draw": _draw,
    "edit": _edit,
    "replay": _replay,
    "active": _active,
    "maps": _maps,
    "prepare": _prepare,
}


def check_fits(generator: Generator, state: PictureState) -> None:
    """Refuse a state whose latents are not this generator's.

    Raises:
        BadRequestError: the space or the shape is another's, or the class, or z lies too far out.
    """
    generator.check_class(state.class_index)
    for latents in (state.start, state.latents):
        expected = {
            "z": (1, generator.card.latent_size),
            "w": (1, generator.w_size),
            "w+": (1, generator.n_ws, generator.w_size),
        }[latents.space]
        if latents.space not in generator.card.spaces or latents.values.shape != expected:
            raise BadRequestError(
                f"The latent ({latents.space}, {latents.values.shape}) is not one of "
                f"'{state.generator}'.",
                "Choose a recipe of this generator.",
            )
        if latents.moved != STILL:
            generator.moving(latents.moved)  # raises where its maps cannot be moved
        size = float(np.sqrt(np.square(latents.values, dtype=np.float64).mean()))
        if latents.space == "z" and size > FAR:
            raise BadRequestError(
                f"This latent lies {size:.3g} times as far out as natural ones, where "
                f"'{state.generator}' draws no picture.",
                "Choose a seed, or another recipe.",
            )
