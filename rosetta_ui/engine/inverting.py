"""Inverting as the façade offers it: pictures in, inversions as frames, pages, results, recipes.

`rosetta_ui.inversions` says what crosses. Imports no torch: what needs it goes through `dispatch`.
A person's picture is in their request and on their page, and nowhere else: not in the cache, in no
log line, in no address and in no recipe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.editing.recipe import recipe_json
from rosetta_ui.edits import PictureState
from rosetta_ui.engine.dispatch import dispatch, held
from rosetta_ui.engine.inverting_desk import InvertDesk
from rosetta_ui.engine.inverting_guide import Pairs, dictionaries, guide_of
from rosetta_ui.engine.jobs import Cancel
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, WeightsUnavailableError
from rosetta_ui.inversions import (
    MOST_STEPS,
    Crop,
    Framed,
    GuidingNeuron,
    Inversion,
    InversionFrame,
    InversionProgress,
    InversionRequest,
    InversionSettings,
    Preset,
    ReadPicture,
    default_crop,
    presets_for,
)
from rosetta_ui.inverting.guide import Guide
from rosetta_ui.inverting.pictures import read_picture
from rosetta_ui.types import Latents, ResultInfo

MOST_CLASSES = 16
MOST_NEURONS = 64


class Inverting:
    """Everything about inversions.

    Args:
        bench: models, cache and the device's lock.
        token: of the bench, for `dispatch`.
        pairs: the matched pairs of a result's table under a selection.
    """

    def __init__(self, bench: Workbench, token: str, pairs: Pairs) -> None:
        self.bench = bench
        self._token = token
        self._pairs = pairs
        self.desk = InvertDesk(bench, token)

    # Without a page: the command line and other programs

    def read_picture(self, data: bytes) -> ReadPicture:
        """Decode a picture by its content: upright, within limits, with notes on what was done.

        Raises:
            BadRequestError: it is no picture, is cut short, is too large or too small.
        """
        return read_picture(data)

    def presets(self, generator: str) -> tuple[Preset, ...]:
        """Guidance and settings that suit a generator; the first is the usual one.

        Raises:
            UnknownModelError: there is no such generator.
        """
        return presets_for(self.bench.registry.card(generator, "generator"))

    def dictionaries(self, generator: str) -> list[ResultInfo]:
        """Results whose matched pairs can guide a generator; the first is the usual one."""
        return dictionaries(self.bench, generator)

    def invert(
        self, request: InversionRequest, cancel: Cancel | None = None
    ) -> Iterator[InversionFrame]:
        """Invert; frames as it runs, the last with the result.

        Args:
            request: what is asked.
            cancel: set it to stop: the last frame then has the best so far.

        Raises:
            BadRequestError: a class, space or ψ that the generator does not have.
            EmptyMatchError: neurons guide, but no result has matched ones of this generator.
            OptimisationDivergedError: the loss is not finite; the best was in the frame before.
            Cancelled: stopped before the first step.
        """
        request = self.checked(request)
        values = self._values(request, guide_of(self.bench, self._pairs, request))
        yield from held(self.bench, self._token, "invert", values, cancel)

    def frame(
        self, generator: str, picture: NDArray[np.uint8], cancel: Cancel | None = None
    ) -> Crop:
        """The square of a picture to ask for: what is most like the generator's pictures.

        The usual guess where nothing is, and for generators with classes.

        Args:
            generator: its name.
            picture: HWC uint8, upright.
            cancel: set it to stop.

        Raises:
            WeightsUnavailableError: the generator's weights are not here.
            Cancelled: stopped.
        """
        request = self._blank(generator)
        height, width = picture.shape[:2]
        guess = default_crop(
            width, height, self.bench.registry.card(generator, "generator").framing
        )
        if request.class_index is not None:
            return guess
        values = {"what": "prepare", "request": request, "picture": picture}
        for said in held(self.bench, self._token, "invert", values, cancel):
            if isinstance(said, Framed):
                return said.crop or guess
        return guess

    def class_grid(
        self, request: InversionRequest, classes: Sequence[int], cancel: Cancel | None = None
    ) -> Iterator[Inversion]:
        """Invert one target into several classes; one result a class, in the given order.

        Raises:
            BadRequestError: no class, too many, or one that the generator does not have; else what
                `invert` raises.
        """
        request = self.checked(request)
        chosen = self._classes(request, classes)
        values = self._values(request, guide_of(self.bench, self._pairs, request), chosen)
        for frame in held(self.bench, self._token, "invert", values, cancel):
            if frame.result is not None:
                yield frame.result

    def compare(
        self, pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    ) -> Iterator[dict[str, Any]]:
        """PSNR, SSIM and the perceptual distance of pictures two by two.

        Args:
            pairs: HWC uint8; drawn one after the other, so that a folder need not be in memory.

        Yields:
            psnr, ssim, perceptual, perceptual_name; lpips only where it is installed.

        Raises:
            WeightsUnavailableError: no backbone is ready to tell the perceptual distance.
        """
        values = {"what": "compare", "pairs": pairs}
        yield from held(self.bench, self._token, "invert", values)

    def checked(self, request: InversionRequest) -> InversionRequest:
        """A request with ψ and class filled in.

        Raises:
            BadRequestError: a value that the generator does not have.
            WeightsUnavailableError: its weights are not here.
        """
        card = self.bench.registry.card(request.generator, "generator")
        status = self.bench.weights.state(card)
        if status.state != "ready":
            raise WeightsUnavailableError(
                status.detail, status.command and f"Run: {status.command}"
            )
        space = request.settings.space
        if space not in card.spaces:
            raise BadRequestError(
                f"'{card.name}' has no {space} space.", f"It has {', '.join(card.spaces)}."
            )
        psi = card.psi if request.psi is None else request.psi
        if not 0 < psi <= 2:
            raise BadRequestError(f"ψ is {psi}.", "Give a number above 0, up to 2.")
        index = request.class_index
        if card.n_classes == 0 and index is not None:
            raise BadRequestError(
                f"'{card.name}' has no classes, but class {index} was asked for.",
                "Leave the class out.",
            )
        if card.n_classes:
            index = 0 if index is None else index
            if not 0 <= index < card.n_classes:
                raise BadRequestError(
                    f"'{card.name}' has no class {index}.",
                    f"Give a class from 0 to {card.n_classes - 1}.",
                )
        return replace(request, psi=psi, class_index=index)

    def recipe_of(self, result: Inversion) -> dict[str, Any]:
        """A result as JSON values that `edit` loads as well; nothing of the target is in it."""
        request, latents = result.request, result.latents
        state = PictureState(
            request.generator, -1, latents.psi, latents.class_index, latents, latents
        )
        card = self.bench.registry.card(request.generator, "generator")
        numbers = None if result.numbers is None else _finite(asdict(result.numbers))
        return {
            **recipe_json(state),
            "weights": self.bench.weights.digest(card),
            "inversion": {
                "guidance": asdict(request.guidance),
                "settings": asdict(request.settings),
                "seed": request.seed,
                "steps": result.steps,
                "seconds": round(result.seconds, 3),
                "numbers": numbers,
            },
        }

    # With a page

    def open(self, page: str = "") -> str:
        """A page's id, which nobody can guess; one that is known stays, with what it has."""
        return self.desk.open(page)

    def prepare(
        self,
        page: str,
        generator: str,
        class_index: int | None = None,
        psi: float | None = None,
        picture: NDArray[np.uint8] | None = None,
    ) -> None:
        """Make in the background what the first inversion of a generator stands on.

        Args:
            page: whose.
            generator: its name.
            class_index: for class-conditional generators.
            psi: truncation; None takes the card's.
            picture: is looked through then for what the generator draws: see `framed`. Generators
                with classes have no one kind of picture, and are not looked for.

        Raises:
            BadRequestError: there is no such page, class or ψ.
            WeightsUnavailableError: the generator's weights are not here.
        """
        request = self._blank(generator, class_index, psi)
        if request.class_index is not None:
            picture = None
        self.desk.prepare(page, request, picture)

    def framed(self, page: str) -> Framed:
        """Where the picture that was prepared last has what the generator draws."""
        return self.desk.framed(page)

    def ask(self, page: str, request: InversionRequest, classes: Sequence[int] = ()) -> int:
        """Start an inversion of a page's picture; an older one is stopped.

        Args:
            page: whose.
            request: what is asked.
            classes: invert into each of these; each becomes a result.

        Returns:
            The ticket, as `progress` shows it.

        Raises:
            BadRequestError: there is no such page; else what `invert` raises at once.
        """
        request = self.checked(request)
        chosen = self._classes(request, classes) if classes else ()
        guide = guide_of(self.bench, self._pairs, request)
        return self._start(page, self._values(request, guide, chosen), guide, None)

    def more(self, page: str, steps: int) -> int:
        """Go on from the best of a page's newest result; the result is replaced.

        Raises:
            BadRequestError: there is no such page, no result, or no such number of steps.
        """
        if not 1 <= steps <= MOST_STEPS:
            raise BadRequestError(f"{steps} more steps are asked for.", f"Give 1 to {MOST_STEPS}.")
        results = self.desk.results(page)
        if not results:
            raise BadRequestError("There is nothing to go on from.", "Invert a picture first.")
        last, guide = self.desk.result(page, results[-1].which)
        settings: InversionSettings = replace(last.request.settings, steps=steps)
        request = replace(last.request, settings=settings)
        values = {**self._values(request, guide), "label": last.label, "resume": last}
        return self._start(page, values, guide, last)

    def progress(self, page: str, seen: int = 0) -> InversionProgress:
        """A snapshot of a page's newest inversion.

        Args:
            page: whose.
            seen: `history_end` of the last answer; only later points of the loss come.
        """
        return self.desk.progress(page, seen)

    def stop(self, page: str) -> None:
        """End a page's inversion; the best so far becomes a result."""
        self.desk.stop(page)

    def results(self, page: str) -> tuple[Inversion, ...]:
        """What a page has got, oldest first."""
        return self.desk.results(page)

    def forget(self, page: str, which: int) -> None:
        """Drop one result of a page."""
        self.desk.forget(page, which)

    def heatmaps(self, page: str, which: int, most: int = 12) -> tuple[GuidingNeuron, ...]:
        """The guiding neurons of a result, in every model, on the target and on the result.

        Those that are matched in the most backbones come first, then the best matched. A result
        that no neuron guided is shown with the pairs of the usual result.

        Raises:
            BadRequestError: there is no such page or result.
            EmptyMatchError: no result has matched pairs of its generator.
        """
        result, guide = self.desk.result(page, which)
        return self.heatmaps_of(result, guide, most)

    def heatmaps_of(
        self, result: Inversion, guide: Guide | None = None, most: int = 12
    ) -> tuple[GuidingNeuron, ...]:
        """As `heatmaps`, without a page."""
        if guide is None:
            guide = guide_of(self.bench, self._pairs, result.request, always=True)
        count = min(max(most, 1), MOST_NEURONS)
        values = {"what": "heatmaps", "result": result, "guide": guide, "most": count}
        (found,) = held(self.bench, self._token, "invert", values)
        return found

    def latents(self, page: str, which: int) -> Latents:
        """The latent of a result, for `engine.editing.open_latents`."""
        return self.desk.result(page, which)[0].latents

    def recipe(self, page: str, which: int) -> dict[str, Any]:
        """A result as JSON values; nothing of the target is in it."""
        return self.recipe_of(self.desk.result(page, which)[0])

    def close(self, page: str) -> None:
        """Forget a page with everything in it."""
        self.desk.close(page)

    # Inside

    def _start(
        self, page: str, values: dict[str, Any], guide: Guide | None, resume: Inversion | None
    ) -> int:
        def work(job: str) -> Iterator[InversionFrame]:
            yield from dispatch("invert", self._token, {**values, "job": job})

        return self.desk.start(page, work, guide, resume)

    def _values(
        self, request: InversionRequest, guide: Guide | None, classes: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        return {
            "what": "invert",
            "request": request,
            "guide": guide,
            "label": self._label(request),
            "classes": classes,
        }

    def _blank(
        self, generator: str, class_index: int | None = None, psi: float | None = None
    ) -> InversionRequest:
        """The usual request, of no picture: it starts at the nearest sample and needs the most."""
        usual = self.presets(generator)[0].settings
        blank = np.zeros((64, 64, 3), np.uint8)
        return self.checked(
            InversionRequest(generator, blank, settings=usual, class_index=class_index, psi=psi)
        )

    def _label(self, request: InversionRequest) -> str:
        for preset in self.presets(request.generator):
            plain = replace(request.guidance, result="", backbones=())
            if (plain, request.settings) == (preset.guidance, preset.settings):
                return f"{preset.title}, {request.settings.space}"
        terms = [
            name
            for name, weight in (
                ("neurons", request.guidance.neurons),
                ("pixels", request.guidance.pixels),
                ("features", request.guidance.perceptual),
            )
            if weight > 0
        ]
        return f"{' + '.join(terms).capitalize()}, {request.settings.space}"

    def _classes(self, request: InversionRequest, classes: Sequence[int]) -> tuple[int, ...]:
        chosen = tuple(dict.fromkeys(classes))
        if not 1 <= len(chosen) <= MOST_CLASSES:
            raise BadRequestError(
                f"{len(chosen)} classes are asked for.", f"Give 1 to {MOST_CLASSES}."
            )
        for index in chosen:
            self.checked(replace(request, class_index=index))
        return chosen


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: an equal picture has no PSNR then."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }
