"""What is asked of a picture, as a step that names everything: units, settings, source.

Imports no torch: what needs it goes through `dispatch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.editing.recipe import checked_settings
from rosetta_ui.edits import (
    Blend,
    EditRequest,
    EditSettings,
    EditStep,
    Paste,
    PictureState,
    Trying,
    UnitChoice,
    has_parts,
    only_moves,
    only_strengths,
)
from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.jobs import Cancel, JobHandle
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, EmptyMatchError, WeightsUnavailableError
from rosetta_ui.types import RosettaNeuron, Selection, Unit

WHOLE = ("usual", "matched")
"""Choices that stand for the whole picture: only with them its colours move too."""

Neurons = Callable[[str, Selection], list[RosettaNeuron]]


class EditSteps:
    """Requests as steps.

    Args:
        bench: models, cache and the device's lock.
        token: of the bench, for `dispatch`.
        neurons: the neurons of a result under a selection.
    """

    def __init__(self, bench: Workbench, token: str, neurons: Neurons) -> None:
        self._bench = bench
        self._token = token
        self._neurons = neurons

    def start_picture(
        self, generator: str, seed: int, class_index: int | None = None, psi: float | None = None
    ) -> tuple[PictureState, NDArray[np.uint8]]:
        """Draw the first picture of a seed: its state and HWC uint8.

        Raises:
            BadRequestError: a seed or class that does not exist.
            WeightsUnavailableError: the generator's weights are not here.
        """
        self._ready(generator)
        if not 0 <= seed < 2**31:
            raise BadRequestError(f"The seed is {seed}.", f"Give a number from 0 to {2**31 - 1}.")
        values = {"generator": generator, "seed": seed, "class_index": class_index, "psi": psi}
        (frame,) = self._hold({"what": "first", **values})
        if frame.state is None or frame.picture is None:
            raise ValueError("a first picture has a state")
        return frame.state, frame.picture

    def step(self, state: PictureState, request: EditRequest) -> EditStep:
        """What a request means for a picture: units, settings and source are all named.

        Raises:
            BadRequestError: nothing is asked for, or no unit is chosen.
        """
        from rosetta_ui.editing.setup import usual_settings

        if not request.edits:
            raise BadRequestError("No edit was asked for.", "Drag, zoom, or choose a region.")
        units = self.units(state, request.choice)
        card = self._bench.registry.card(state.generator, "generator")
        source = None
        if any(isinstance(e, Paste | Blend) for e in request.edits):
            source = self._source(state, request)
        settings = usual_settings(card, request.edits)
        if state.latents.space != "z":
            settings = replace(settings, space=state.latents.space)
        given = {k: v for k, v in asdict(request.trying or Trying()).items() if v is not None}
        settings = self._placed(state, request, settings, given)
        if request.choice.kind not in WHOLE and not only_strengths(request.edits):
            settings = replace(settings, colours=0.0)
        settings = checked_settings(replace(settings, **given))
        if given.get("coarse_first") and settings.space != "w+":
            raise BadRequestError(
                f"All layers share a latent in {settings.space}: none can move first.",
                "Leave that choice out, or edit in w+.",
            )
        return EditStep(request.edits, units, settings, source)

    def _placed(
        self,
        state: PictureState,
        request: EditRequest,
        settings: EditSettings,
        given: Mapping[str, Any],
    ) -> EditSettings:
        """The settings with or without a move of early maps, which takes the whole picture along.

        Raises:
            BadRequestError: it is asked for, but this edit or this generator cannot have it.
        """
        from rosetta_ui.editing.setup import latent_settings

        card = self._bench.registry.card(state.generator, "generator")
        whole = request.choice.kind in WHOLE
        able = bool(self._bench.models.generator(state.generator).movable)
        if given.get("early") and not (whole and only_moves(request.edits)):
            raise BadRequestError(
                "Moving early maps takes the whole picture along, and changes nothing else in it.",
                "Leave that choice out, or shift, zoom, turn or mirror the whole picture.",
            )
        if given.get("early") and not able:
            raise BadRequestError(
                f"The early maps of '{state.generator}' cannot be moved.", "Leave that choice out."
            )
        if settings.early and (not (whole and able) or given.get("early") is False):
            space = settings.space
            return replace(latent_settings(card, request.edits), space=space)
        return settings

    def units(self, state: PictureState, choice: UnitChoice) -> tuple[Unit, ...]:
        """The units that a choice means.

        Raises:
            BadRequestError: none is chosen.
            EmptyMatchError: the result has no matched unit of this generator that can be moved.
        """
        self._ready(state.generator)
        if choice.kind == "units":
            if not choice.units:
                raise BadRequestError("No neuron is chosen.", "Tick at least one.")
            return choice.units
        if choice.kind == "active":
            place = {"x": min(max(choice.x, 0), 1), "y": min(max(choice.y, 0), 1)}
            (found,) = self._hold({"what": "active", "state": state, **place})
            return found
        if choice.kind == "usual":
            from rosetta_ui.editing.setup import usual_units

            return usual_units(self._bench.models.generator(state.generator).layers)
        return self._matched(state, choice)

    def _ladder(self, step: EditStep) -> EditStep:
        from rosetta_ui.editing.setup import latent_settings
        from rosetta_ui.engine.editing_frontier import rungs

        if any(isinstance(edit, Blend) for edit in step.edits):
            raise BadRequestError(
                "A blend of two pictures is natural at every share.", "Move its slider."
            )
        many = rungs(step)
        settings = step.settings
        if settings.early and not has_parts(step.edits):
            # Maps are mirrored or not; how far the latent goes is a matter of its pull.
            card = self._bench.registry.card(step.units[0].model, "generator")
            settings = replace(latent_settings(card, step.edits), space=settings.space)
        settings = replace(settings, restarts=1)
        return replace(step, settings=settings, ladder=many, rung=len(many) - 1)

    def _source(self, state: PictureState, request: EditRequest) -> PictureState | None:
        if request.source is not None:
            if request.source.generator != state.generator:
                raise BadRequestError(
                    f"The other picture is of '{request.source.generator}', this one of "
                    f"'{state.generator}', and their neurons have nothing in common.",
                    "Choose a picture of the same generator.",
                )
            return request.source
        if request.source_seed is None:
            return None
        return self.start_picture(
            state.generator, request.source_seed, state.class_index, state.psi
        )[0]

    def _matched(self, state: PictureState, choice: UnitChoice) -> tuple[Unit, ...]:
        from rosetta_ui.editing.setup import editable

        layers = {s.name for s in editable(self._bench.models.generator(state.generator).layers)}
        units = tuple(
            neuron.anchor
            for neuron in self._neurons(choice.result, Selection(score="centred"))
            if neuron.anchor.model == state.generator
            and neuron.anchor.layer in layers
            and (choice.kind == "matched" or neuron.concept == choice.concept)
        )
        if not units:
            what = f"concept {choice.concept + 1}" if choice.kind == "concept" else "this result"
            raise EmptyMatchError(
                f"{what.capitalize()} has no matched neuron of '{state.generator}' to move.",
                "Choose the generator's own middle layers, or match this generator first.",
            )
        return units

    def _ready(self, generator: str) -> None:
        card = self._bench.registry.card(generator, "generator")
        status = self._bench.weights.state(card)
        if status.state != "ready":
            raise WeightsUnavailableError(
                status.detail, status.command and f"Run: {status.command}"
            )

    def _hold(
        self, values: Mapping[str, Any], cancel: Cancel | None = None, task: str = "edit"
    ) -> Iterator[Any]:
        """Do a task while the device is held."""
        handle = JobHandle(f"edit-{id(values)}", "edit", "steps")
        if cancel is not None:
            handle.cancel = cancel
        job = handle.status.job
        self._bench.handles[job] = handle
        try:
            with self._bench.lock.hold():
                yield from dispatch(task, self._token, {**values, "job": job})
        finally:
            self._bench.handles.pop(job, None)
