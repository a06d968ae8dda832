"""Editing as the façade offers it: pictures, edits as iterators of frames, pages, recipes.

Imports no torch: what needs it goes through `dispatch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.editing.recipe import (
    recipe_json,
    recipe_numbers,
    recipe_state,
    request_of,
)
from rosetta_ui.edits import (
    EditEntry,
    EditFrame,
    EditNumbers,
    EditProgress,
    EditRequest,
    EditView,
    Film,
    Frontier,
    PictureState,
    UnitChoice,
)
from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.editing_desk import EditDesk, label_of
from rosetta_ui.engine.editing_steps import EditSteps, Neurons
from rosetta_ui.engine.jobs import Cancel
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import Latents, Unit


class Editing(EditSteps):
    """Everything about edits.

    Args:
        bench: models, cache and the device's lock.
        token: of the bench, for `dispatch`.
        neurons: the neurons of a result under a selection.
    """

    def __init__(self, bench: Workbench, token: str, neurons: Neurons) -> None:
        super().__init__(bench, token, neurons)
        self.desk = EditDesk(bench, token)

    # Without a page: the command line and other programs

    def draw(self, state: PictureState) -> NDArray[np.uint8]:
        """The picture of a state: HWC uint8.

        Raises:
            BadRequestError: its latents are not this generator's.
        """
        self._ready(state.generator)
        (frame,) = self._hold({"what": "draw", "state": state})
        if frame.picture is None:
            raise ValueError("a drawn state has a picture")
        return frame.picture

    def edit(
        self, state: PictureState, request: EditRequest, cancel: Cancel | None = None
    ) -> Iterator[EditFrame]:
        """Edit a picture; frames as it runs, the last with the state.

        Args:
            state: where it begins.
            request: what is asked.
            cancel: set it to stop; `Cancelled` is raised inside the forward pass.

        Raises:
            BadRequestError: an impossible edit, or no unit.
            OptimisationDivergedError: the loss is not finite; the last picture stays good.
        """
        step = self.step(state, request)
        yield from self._hold({"what": "edit", "state": state, "step": step}, cancel)

    def replay(self, state: PictureState, cancel: Cancel | None = None) -> Iterator[EditFrame]:
        """Make every edit of a state again from its start; the last frame has the state.

        On the same machine the latent is the same to the last bit. Where other arithmetic leads
        elsewhere, the last frame has the recipe's own latent, and says so in its note.
        """
        self._ready(state.generator)
        yield from self._hold({"what": "replay", "state": state}, cancel)

    def frontier(
        self, state: PictureState, request: EditRequest, cancel: Cancel | None = None
    ) -> Iterator[EditFrame | Frontier]:
        """Make an edit at several strengths beside each other; the last value is the frontier.

        Raises:
            BadRequestError: as for `edit`; or a blend, which needs no optimiser.
        """
        step = self._ladder(self.step(state, request))
        values = {"state": state, "step": step, "label": label_of(replace(step, ladder=()))}
        yield from self._hold(values, cancel, "edit-frontier")

    def film(
        self, states: Sequence[PictureState], kind: str = "webp", cancel: Cancel | None = None
    ) -> Iterator[EditFrame | Film]:
        """Draw a film from state to state; the last value is the film.

        Args:
            states: two or more of one generator.
            kind: webp or gif.
            cancel: set it to stop.

        Raises:
            BadRequestError: fewer than two states, of two generators, or another kind of file.
        """
        self._ready(states[0].generator)
        yield from self._hold({"states": tuple(states), "kind": kind}, cancel, "edit-film")

    def numbers(self, before: PictureState, after: PictureState) -> EditNumbers:
        """The two numbers of the last edit between two states.

        Raises:
            BadRequestError: nothing was edited.
        """
        if not after.steps:
            raise BadRequestError("Nothing was edited.", "Make an edit first.")
        with self._bench.lock.hold():
            values = {"before": before, "after": after}
            *_, last = dispatch("edit-numbers", self._token, values)
        return last

    # With a page

    def open(
        self, generator: str, seed: int, class_index: int | None, psi: float | None, page: str
    ) -> EditView:
        """Begin a page's history with a seed's picture; raises what `start_picture` raises.

        Args:
            generator: its name.
            seed: of the picture.
            class_index: for class-conditional generators.
            psi: truncation; None takes the card's.
            page: id of a page that is open already, or empty.
        """
        state, picture = self.start_picture(generator, seed, class_index, psi)
        return self.desk.open(EditEntry(f"Seed {seed}", picture, state), page)

    def open_latents(self, generator: str, latents: Latents, page: str = "") -> EditView:
        """Begin a page's history with a latent, such as an inverted photo's.

        Raises:
            BadRequestError: the latent is not this generator's.
        """
        state = PictureState(generator, -1, latents.psi, latents.class_index, latents, latents)
        return self.desk.open(EditEntry("Inverted picture", self.draw(state), state), page)

    def ask(self, page: str, request: EditRequest) -> int:
        """Start an edit of a page's picture; an older one is cancelled.

        Returns:
            The edit's ticket, as `progress` shows it.

        Raises:
            BadRequestError: there is no such page, or the edit cannot be asked for.
        """
        before = self.desk.current(page)
        step = self.step(before, request)

        def work(job: str) -> Iterator[EditFrame]:
            yield from dispatch(
                "edit", self._token, {"what": "edit", "state": before, "step": step, "job": job}
            )

        return self.desk.start(page, label_of(step), work, before)

    def ask_frontier(self, page: str, request: EditRequest) -> int:
        """Try a page's edit at several strengths; `page_frontier` has them when it is done.

        Returns:
            The ticket, as `progress` shows it.

        Raises:
            BadRequestError: as for `ask`.
        """
        before = self.desk.current(page)
        step = self._ladder(self.step(before, request))
        label = label_of(replace(step, ladder=()))

        def work(job: str) -> Iterator[EditFrame | Frontier]:
            values = {"state": before, "step": step, "label": label, "job": job}
            yield from dispatch("edit-frontier", self._token, values)

        return self.desk.start(page, label, work, None)

    def page_frontier(self, page: str) -> Frontier | None:
        """The strengths that a page tried last."""
        return self.desk.frontier(page)

    def take(self, page: str, point: int) -> EditView:
        """Make one of a page's tried strengths its picture."""
        return self.desk.take(page, point)

    def ask_film(self, page: str, kind: str) -> int:
        """Draw a film of a page's history, up to where it stands; `page_film` has it when done.

        Returns:
            The ticket, as `progress` shows it.

        Raises:
            BadRequestError: there is one picture only.
        """
        view = self.desk.view(page)
        states = [entry.state for entry in view.entries[: view.at + 1]]
        if len(states) < 2:
            raise BadRequestError("There is one picture only.", "Make an edit first.")

        def work(job: str) -> Iterator[EditFrame | Film]:
            values = {"states": states, "kind": kind, "job": job}
            yield from dispatch("edit-film", self._token, values)

        return self.desk.start(page, "Film", work, None)

    def page_film(self, page: str) -> Film | None:
        """The film that a page drew last."""
        return self.desk.film(page)

    def load(self, page: str, recipe: Mapping[str, Any]) -> EditView:
        """Open a recipe in a page: its start, and its end as it was.

        Raises:
            BadRequestError: it is no recipe, or one of another generator's.
        """
        state = recipe_state(recipe)
        self._ready(state.generator)
        first = replace(state, latents=state.start, steps=())
        picture = self.draw(state)  # before anything of the page is given up
        view = self.desk.open(EditEntry("Start", self.draw(first), first), page)
        if not state.steps:
            return view
        label = label_of(state.steps[-1])
        if len(state.steps) > 1:
            label = f"{len(state.steps)} edits, last: {label}"
        numbers = recipe_numbers(recipe)
        return self.desk.add(view.page, EditEntry(label, picture, state, numbers))

    def recipe(
        self, state: PictureState, numbers: Sequence[EditNumbers | None] = ()
    ) -> dict[str, Any]:
        """A state as JSON values, with the numbers of its edits as far as they are known."""
        card = self._bench.registry.card(state.generator, "generator")
        return {**recipe_json(state, numbers), "weights": self._bench.weights.digest(card)}

    def page_recipe(self, page: str) -> dict[str, Any]:
        """The recipe of a page's picture, with the numbers of its edits."""
        view = self.desk.view(page)
        state = view.entries[view.at].state
        known = {len(e.state.steps): e.numbers for e in view.entries[: view.at + 1]}
        numbers = [known.get(i) for i in range(1, len(state.steps) + 1)]
        return self.recipe(state, numbers)

    def progress(self, page: str) -> EditProgress:
        """A snapshot of a page's newest edit."""
        return self.desk.progress(page)

    def view(self, page: str) -> EditView:
        """The history of a page."""
        return self.desk.view(page)

    def go(self, page: str, to: int) -> EditView:
        """Stand at another state of a page's history."""
        return self.desk.go(page, to)

    def stop(self, page: str) -> None:
        """End a page's edit."""
        self.desk.stop(page)

    def leave(self, page: str) -> None:
        """The browser of a page is gone: its edit ends now, the page a while later."""
        self.desk.leave(page)

    def close(self, page: str) -> None:
        """Forget a page."""
        self.desk.close(page)

    def read_request(self, data: object) -> EditRequest:
        """Read a request from JSON values, as the page sends it.

        Raises:
            BadRequestError: a part is missing or malformed.
        """
        return request_of(data)

    def unit_maps(
        self, page: str, choice: UnitChoice, most: int
    ) -> tuple[list[Unit], NDArray[np.uint8], int]:
        """The units of a choice with their maps of a page's picture.

        Args:
            page: whose picture.
            choice: which units.
            most: units to give at most.

        Returns:
            Units, uint8 [units, 16, 16] (0 is three deviations below the unit's mean, 255 three
            above), and how many units there are.
        """
        state = self.desk.current(page)
        units = self.units(state, choice)
        shown = units[:most]
        (maps,) = self._hold({"what": "maps", "state": state, "units": shown})
        return list(shown), maps, len(units)
