"""Inversion for programs: one endpoint that takes a picture and yields what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import gradio as gr

from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import Inversion, InversionProgress
from rosetta_ui.tabs.api import HEARTBEAT, told
from rosetta_ui.tabs.invert import USUAL, InvertEngine, Inverter, chosen_preset
from rosetta_ui.tabs.invert_values import numbers_json, progress_json
from rosetta_ui.widgets.factory import png_uri

JUDGING_SECONDS = 20.0
"""Numbers that take longer to come are left out of the answer."""

PresetName = Literal["photo", "sketch", "other-class", "published"]


class InvertApi:
    """The endpoint; one for all visitors. Each call has a page of its own, closed at its end."""

    def __init__(self, engine: InvertEngine) -> None:
        self._engine = engine
        self._inverter = Inverter(engine)

    def invert(  # noqa: PLR0913 - a client names each by its own word
        self,
        picture: str,
        generator: str = "",
        preset: PresetName = "photo",
        crop: list[float] | None = None,
        backbones: list[str] | None = None,
        neurons: float | None = None,
        pixels: float | None = None,
        perceptual: float | None = None,
        steps: int = 0,
        restarts: int = 0,
        class_index: int | None = None,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Look for a picture in a generator's world; yields frames, the result last.

        Nothing of the picture is kept after the call. Cancelling the call ends the inversion.

        Args:
            picture: a picture file as base64, at most 10 MB.
            generator: name; empty takes the fast one.
            preset: photo, sketch (neurons only), other-class or published.
            crop: [x, y, side] of the square that is asked for: its middle as shares of width and
                height, its side as a share of the shorter side; None takes the largest in the
                middle.
            backbones: whose matched neurons guide; None takes all.
            neurons: weight of the matched neurons; None takes the preset's, or 0 where it has
                other terms and no match of the generator is here.
            pixels: weight of the pixels; None takes the preset's.
            perceptual: weight of a backbone's features; None takes the preset's.
            steps: of the optimiser; 0 takes the preset's.
            restarts: starts side by side; 0 takes the preset's.
            class_index: for class-conditional generators only.
            seed: of the random starts.

        Returns:
            {state, step, steps, seconds_left, place, message, loss: {term: value}, picture: a data
            address or None}; the last one has state "done", the picture without loss, numbers and
            recipe, in which the latent is.
        """
        generator = generator or USUAL
        with told():
            request, _ = self._inverter.request(
                {
                    "picture": picture,
                    "generator": generator,
                    "preset": preset,
                    "crop": _crop(crop),
                    "backbones": backbones,
                    "weights": self._weights(generator, preset, neurons, pixels, perceptual),
                    "settings": {"steps": steps or None, "restarts": restarts or None},
                    "classes": "" if class_index is None else str(class_index),
                    "seed": seed,
                }
            )
            desk = self._engine.inverting
            page = desk.open()
            try:
                desk.ask(page, request)
                yield from self._followed(page)
            finally:
                desk.close(page)  # ends what still runs, and drops the picture

    def _weights(
        self, generator: str, preset: str, *given: float | None
    ) -> dict[str, float | None]:
        names: list[str] = ["neurons", "pixels", "perceptual"]
        weights = dict(zip(names, given, strict=True))
        guidance = chosen_preset(self._engine.inverting.presets(generator), preset).guidance
        others = guidance.pixels or guidance.perceptual
        if weights["neurons"] is None and others:
            known = self._engine.inverting.dictionaries(generator)
            weights["neurons"] = guidance.neurons if known else 0.0
        return weights

    def _followed(self, page: str) -> Iterator[dict[str, Any]]:
        desk = self._engine.inverting
        seen = frame = 0
        while True:
            now = desk.progress(page, seen)
            if now.state == "failed":
                raise BadRequestError(now.message, now.hint)
            if now.state not in ("queued", "running"):
                break
            yield _step(now, frame)
            seen, frame = now.history_end, now.frame
            time.sleep(HEARTBEAT)
        run = next((r for r in desk.results(page) if r.which == now.which), None)
        if run is None:
            raise BadRequestError("The inversion ended without a picture.", "Ask for it again.")
        end = time.monotonic() + JUDGING_SECONDS
        while run.note and time.monotonic() < end:
            yield {**_step(now, now.frame), "state": "running", "message": run.note}
            time.sleep(HEARTBEAT)
            run = next(r for r in desk.results(page) if r.which == now.which)
        yield {**_step(now, now.frame), **_outcome(run), "recipe": desk.recipe(page, run.which)}


def _step(now: InversionProgress, frame: int) -> dict[str, Any]:
    told_ = progress_json(now, frame)
    points = told_["points"]
    return {
        "state": told_["state"],
        "step": told_["step"],
        "steps": told_["steps"],
        "seconds_left": told_["left"],
        "place": told_["place"],
        "message": told_["message"],
        "loss": points[-1]["terms"] if points else {},
        "picture": told_["picture"],
    }


def _outcome(run: Inversion) -> dict[str, Any]:
    return {
        "state": "done",
        "loss": dict(run.history[-1].terms) if run.history else {},
        "picture": png_uri(run.picture),
        "numbers": None if run.numbers is None else numbers_json(run.numbers),
    }


def _crop(crop: list[float] | None) -> dict[str, float] | None:
    if crop is None:
        return None
    if len(crop) != 3:
        raise BadRequestError(f"The crop has {len(crop)} numbers.", "Give [x, y, side].")
    return dict(zip(("x", "y", "side"), crop, strict=True))


def invert_endpoint(engine: InvertEngine) -> None:
    """Add the endpoint to the page that is being built."""
    # An inversion waits in the engine's own queue, so several calls may follow theirs at once.
    gr.api(InvertApi(engine).invert, api_name="invert", concurrency_limit=8)
