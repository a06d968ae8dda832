"""The Invert tab: a person's picture is looked for in the generator's world, step by step.

It reads what the page asks, calls the engine and presents the answer. Pictures pass through: what
is kept of them is kept by the engine, for one page, and goes with it.
"""

# ruff: noqa: D102 - the protocols repeat methods that the engine documents

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from rosetta_ui.edits import EditView, PictureState
from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import (
    Crop,
    Framed,
    GuidingNeuron,
    Inversion,
    InversionProgress,
    InversionRequest,
    Preset,
    ReadPicture,
)
from rosetta_ui.tabs import present
from rosetta_ui.tabs.edit import PictureDesk
from rosetta_ui.tabs.invert_values import (
    classes_of,
    crop_of,
    guidance_of,
    neurons_json,
    picture_bytes,
    preset_json,
    progress_json,
    run_json,
    sent_json,
    settings_of,
    shown,
    whole_run_json,
)
from rosetta_ui.types import Latents, ModelStatus, ResultInfo, Role
from rosetta_ui.widgets.factory import Asked, Call, png_uri
from rosetta_ui.widgets.invert_form import invert_form
from rosetta_ui.widgets.invert_result import invert_result
from rosetta_ui.widgets.invert_source import invert_source
from rosetta_ui.widgets.invert_work import invert_work

USUAL = "dcgan-digiface"  # shows ten frames a second where the large one shows one
MOST_SHOWN = 12  # guiding neurons
MOST_SESSIONS = 256
EXAMPLE_SEEDS = (11, 42)
PHOTO = Path(__file__).resolve().parents[2] / "assets" / "photos" / "astronaut.webp"
PHOTO_FACE = Crop(0.43, 0.26, 0.47)
"""The face in it, cut as generators of aligned faces draw them."""


class InvertDesk(Protocol):
    """Inversions, kept page by page."""

    def read_picture(self, data: bytes) -> ReadPicture: ...
    def presets(self, generator: str) -> tuple[Preset, ...]: ...
    def dictionaries(self, generator: str) -> list[ResultInfo]: ...
    def open(self, page: str = "") -> str: ...
    def prepare(
        self,
        page: str,
        generator: str,
        class_index: int | None = None,
        psi: float | None = None,
        picture: NDArray[np.uint8] | None = None,
    ) -> None: ...
    def framed(self, page: str) -> Framed: ...
    def ask(self, page: str, request: InversionRequest, classes: Sequence[int] = ()) -> int: ...
    def progress(self, page: str, seen: int = 0) -> InversionProgress: ...
    def stop(self, page: str) -> None: ...
    def more(self, page: str, steps: int) -> int: ...
    def results(self, page: str) -> tuple[Inversion, ...]: ...
    def forget(self, page: str, which: int) -> None: ...
    def heatmaps(self, page: str, which: int, most: int = 12) -> tuple[GuidingNeuron, ...]: ...
    def latents(self, page: str, which: int) -> Latents: ...
    def recipe(self, page: str, which: int) -> dict[str, Any]: ...
    def close(self, page: str) -> None: ...


class PictureMaker(PictureDesk, Protocol):
    """What of editing an inversion needs: example pictures, and where it can go on."""

    def start_picture(
        self, generator: str, seed: int, class_index: int | None = None, psi: float | None = None
    ) -> tuple[PictureState, NDArray[np.uint8]]: ...
    def open_latents(self, generator: str, latents: Latents, page: str = "") -> EditView: ...


class InvertEngine(Protocol):
    """What the Invert tab asks of the engine."""

    @property
    def inverting(self) -> InvertDesk: ...
    @property
    def editing(self) -> PictureMaker: ...
    def models(self, role: Role | None = None) -> list[ModelStatus]: ...


class Inverter:
    """Answers to the Invert tab's widgets; what belongs to a page is the engine's, under its id."""

    def __init__(self, engine: InvertEngine) -> None:
        self._engine = engine
        self._sessions: dict[str, str] = {}  # connection of a browser → its page

    # What can be chosen

    def catalogue(self, asked: Asked) -> present.Json:
        """Generators with their presets, matches and example pictures."""
        statuses = self._engine.models("generator")
        return {"generators": [self._generator(s, statuses) for s in statuses], "usual": USUAL}

    def _generator(self, status: ModelStatus, all_: Sequence[ModelStatus]) -> present.Json:
        card, desk = status.card, self._engine.inverting
        ready = status.state == "ready"
        return {
            **present.model_json(status),
            "framing": card.framing,
            "spaces": list(card.spaces) or ["z"],
            "presets": [preset_json(preset) for preset in desk.presets(card.name)] if ready else [],
            "results": [present.result_json(r) for r in desk.dictionaries(card.name)]
            if ready
            else [],
            "examples": _examples(card.name, all_) if ready else [],
        }

    def read(self, asked: Asked) -> present.Json:
        """Decode an upload; nothing of it is kept."""
        data = picture_bytes(present.text_of(asked, "data"))
        return sent_json(self._engine.inverting.read_picture(data))

    def example(self, asked: Asked) -> present.Json:
        """A picture to try: of another seed, of another generator, or a photo."""
        kind = present.text_of(asked, "kind")
        if kind == "photo":
            read = self._engine.inverting.read_picture(_photo())
            return {**sent_json(read, PHOTO_FACE), "framed": True}
        generator = present.text_of(asked, "generator" if kind == "seed" else "other")
        seed = present.whole_of(asked, "seed", EXAMPLE_SEEDS[0])
        _, picture = self._engine.editing.start_picture(generator, seed)
        return {**sent_json(ReadPicture(picture)), "framed": kind == "seed"}

    # One page

    def begin(self, request: gr.Request) -> present.Json:
        """Tell the page its connection, so that its end is noticed here."""
        return {"session": request.session_hash or ""}

    def gone(self, request: gr.Request) -> None:
        """A browser's connection ended: what runs for it is stopped, its results wait a while.

        They are not dropped: a laptop that sleeps ends its connection too, and comes back.
        """
        page = self._sessions.pop(request.session_hash or "", "")
        if page and self._known(page):
            self._engine.inverting.stop(page)

    def open(self, asked: Asked) -> present.Json:
        """The page's id: the one that it has, or a new one where that is forgotten."""
        page, session = present.text_of(asked, "page"), present.text_of(asked, "session")
        page = self._engine.inverting.open(page)
        if session:
            self._sessions[session] = page
        while len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return {"page": page}

    def _known(self, page: str) -> bool:
        if not page:
            return False
        try:
            self._engine.inverting.progress(page)
        except BadRequestError:
            return False
        return True

    def prepare(self, asked: Asked) -> present.Json:
        """Get ready for a generator while a person still chooses, and look through a picture."""
        page, generator = present.text_of(asked, "page"), present.text_of(asked, "generator")
        desk = self._engine.inverting
        text = present.text_of(asked, "picture")
        picture = desk.read_picture(picture_bytes(text)).picture if text else None
        desk.prepare(page, generator, picture=picture)
        return {}

    def framed(self, asked: Asked) -> present.Json:
        """Where the picture that was prepared has what the generator draws."""
        found = self._engine.inverting.framed(present.text_of(asked, "page"))
        return {"ready": found.ready, "crop": found.crop and asdict(found.crop)}

    def ask(self, asked: Asked) -> present.Json:
        """Start an inversion."""
        wanted = asked.get("request")
        if not isinstance(wanted, dict):
            raise BadRequestError("Nothing was asked for.", "Choose a picture first.")
        request, classes = self.request(wanted)
        ticket = self._engine.inverting.ask(present.text_of(asked, "page"), request, classes)
        return {"ticket": ticket, "target": shown(request.picture)}

    def request(self, wanted: Asked) -> tuple[InversionRequest, tuple[int, ...]]:
        """What the page or a program asks for: the request, and the classes of a grid.

        Raises:
            BadRequestError: a part is missing or malformed.
        """
        desk = self._engine.inverting
        generator = present.text_of(wanted, "generator") or USUAL
        preset = chosen_preset(desk.presets(generator), present.text_of(wanted, "preset"))
        guidance = guidance_of(wanted, preset.guidance)
        settings = settings_of(wanted, preset.settings)
        classes = classes_of(named) if (named := present.text_of(wanted, "classes")) else ()
        picture = desk.read_picture(picture_bytes(present.text_of(wanted, "picture"))).picture
        request = InversionRequest(
            generator,
            crop_of(wanted).cut(picture),
            guidance,
            settings,
            class_index=classes[0] if classes else None,
            seed=present.whole_of(wanted, "seed", 0),
        )
        return request, classes if len(classes) > 1 else ()

    def progress(self, asked: Asked) -> present.Json:
        """A snapshot of the page's inversion."""
        page, seen = present.text_of(asked, "page"), present.whole_of(asked, "seen", 0)
        now = self._engine.inverting.progress(page, seen)
        return progress_json(now, present.whole_of(asked, "frame", 0))

    def stop(self, asked: Asked) -> present.Json:
        """End the page's inversion; the best so far is kept."""
        self._engine.inverting.stop(present.text_of(asked, "page"))
        return {}

    def more(self, asked: Asked) -> present.Json:
        """Go on with the page's newest inversion."""
        steps = present.whole_of(asked, "steps", 100, 1, 5000)
        return {"ticket": self._engine.inverting.more(present.text_of(asked, "page"), steps)}

    # Results

    def results(self, asked: Asked) -> present.Json:
        """The page's results as cards, oldest first."""
        found = self._engine.inverting.results(present.text_of(asked, "page"))
        return {"runs": [run_json(run) for run in found]}

    def result(self, asked: Asked) -> present.Json:
        """One result in full."""
        return whole_run_json(self._run(asked))

    def forget(self, asked: Asked) -> present.Json:
        """Drop one result."""
        self._engine.inverting.forget(*_page_and_which(asked))
        return {}

    def heatmaps(self, asked: Asked) -> present.Json:
        """The maps of the neurons that guided, on both pictures."""
        return neurons_json(self._engine.inverting.heatmaps(*_page_and_which(asked), MOST_SHOWN))

    def png(self, asked: Asked) -> present.Json:
        """A result's picture in full, without loss."""
        return {"png": png_uri(self._run(asked).picture)}

    def recipe(self, asked: Asked) -> present.Json:
        """A result's latent and settings."""
        return self._engine.inverting.recipe(*_page_and_which(asked))

    def edit(self, asked: Asked) -> present.Json:
        """Open a result in the Edit tab: the id of its page there."""
        latents = self._engine.inverting.latents(*_page_and_which(asked))
        generator = self._run(asked).request.generator
        return {"page": self._engine.editing.open_latents(generator, latents).page}

    def alive(self, asked: Asked) -> present.Json:
        """The page is still open."""
        self._engine.inverting.progress(present.text_of(asked, "page"))
        return {}

    def close(self, asked: Asked) -> present.Json:
        """The page is gone."""
        self._engine.inverting.close(present.text_of(asked, "page"))
        return {}

    def _run(self, asked: Asked) -> Inversion:
        page, which = _page_and_which(asked)
        for run in self._engine.inverting.results(page):
            if run.which == which:
                return run
        raise BadRequestError("This inversion is no longer here.", "Run it again.")


def chosen_preset(presets: Sequence[Preset], name: str) -> Preset:
    """The preset of this name; the first where none is named.

    Raises:
        BadRequestError: there is no such preset.
    """
    for preset in presets:
        if not name or preset.name == name:
            return preset
    raise BadRequestError(
        f"There is no preset '{name[:40]}'.", f"Choose {', '.join(p.name for p in presets)}."
    )


def _page_and_which(asked: Asked) -> tuple[str, int]:
    return present.text_of(asked, "page"), present.whole_of(asked, "which", 0)


def _examples(generator: str, statuses: Sequence[ModelStatus]) -> list[present.Json]:
    """Pictures to try with a generator; each is drawn when it is asked for."""
    found: list[present.Json] = [
        {
            "title": f"Its own, seed {seed}",
            "about": "A picture of this generator, whose latent is not told: how near does it get?",
            "ask": {"kind": "seed", "seed": seed},
        }
        for seed in EXAMPLE_SEEDS
    ]
    if PHOTO.is_file():
        about = "Eileen Collins, photographed by NASA; in the public domain."
        found.append({"title": "A photo", "about": about, "ask": {"kind": "photo"}})
    others = [s.card for s in statuses if s.state == "ready" and s.card.name != generator]
    found += [
        {
            "title": f"One of {card.name}",
            "about": f"A picture of another domain: {card.title}.",
            "ask": {"kind": "other", "other": card.name, "seed": EXAMPLE_SEEDS[0]},
        }
        for card in others[:1]
    ]
    return found


def _photo() -> bytes:
    try:
        return PHOTO.read_bytes()
    except OSError as error:
        raise BadRequestError("The example photo is not here.", "Choose a picture.") from error


def invert_tab(engine: InvertEngine, page: gr.Blocks) -> None:
    """Lay out the tab that is open.

    Args:
        engine: does the work.
        page: that the tab is part of; its visitors' coming and going is followed.
    """
    inverter = Inverter(engine)
    work: dict[str, Call] = {
        "open": inverter.open,
        "prepare": inverter.prepare,
        "framed": inverter.framed,
        "ask": inverter.ask,
        "progress": inverter.progress,
        "stop": inverter.stop,
        "more": inverter.more,
        "results": inverter.results,
        "result": inverter.result,
        "forget": inverter.forget,
        "alive": inverter.alive,
        "close": inverter.close,
    }
    result: dict[str, Call] = {
        "heatmaps": inverter.heatmaps,
        "png": inverter.png,
        "recipe": inverter.recipe,
        "edit": inverter.edit,
    }
    with gr.Row(elem_id="invert-page", elem_classes="r-page"):
        with gr.Column(elem_id="invert-form-column", min_width=0):
            invert_source(inverter.read, inverter.example)
            invert_form(inverter.catalogue)
        with gr.Column(elem_id="invert-work-column", min_width=0):
            panel = invert_work(work)
            invert_result(result)
    page.load(inverter.begin, outputs=panel, show_progress="hidden", api_visibility="private")
    page.unload(inverter.gone)
