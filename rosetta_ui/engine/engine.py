"""The engine's façade: what the page and the command line call.

It takes and gives ids, frozen dataclasses of `rosetta_ui.types` and numpy arrays; never a tensor, a
module or a widget. It imports no torch: what needs torch is imported inside the call that needs it.
It knows which parts do the work and in which order they are asked; it computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.engine.adding import adding
from rosetta_ui.engine.answers import Answers
from rosetta_ui.engine.carrying import Carrying
from rosetta_ui.engine.copying import check_folder, copy_result
from rosetta_ui.engine.dispatch import register, unregister
from rosetta_ui.engine.editing import Editing
from rosetta_ui.engine.estimates import estimate
from rosetta_ui.engine.expressing import Expressing
from rosetta_ui.engine.flow import (
    activations_key,
    cached_result,
    forget_unfinished,
    match,
    refuse_missing,
    sweep_finished,
    unfinished,
)
from rosetta_ui.engine.grouping import Grouping
from rosetta_ui.engine.inverting import Inverting
from rosetta_ui.engine.jobs import JobBoard, JobHandle, Work
from rosetta_ui.engine.plot_names import PlotRequest
from rosetta_ui.engine.plots import Plots
from rosetta_ui.engine.readiness import Warming
from rosetta_ui.engine.requests import DEFAULT_GENERATOR, checked, default_backbones, job_id
from rosetta_ui.engine.sharing import ExportRequest, Sharing
from rosetta_ui.engine.views import Views
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.allocator import give_back_freed_blocks, keep_freed_blocks
from rosetta_ui.models.registry import Registry
from rosetta_ui.settings import Settings
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.keys import digest
from rosetta_ui.types import (
    CONCEPT_THRESHOLD,
    ActiveUnits,
    AddRequest,
    ClassFavour,
    ConceptInfo,
    Estimate,
    Expression,
    HeatmapRow,
    Imported,
    JobStatus,
    MatchRequest,
    MatchSummary,
    ModelStatus,
    Partner,
    PersonNames,
    Readiness,
    ResultInfo,
    Role,
    RosettaNeuron,
    Selection,
    Unit,
    UnitIndex,
)

if TYPE_CHECKING:
    from rosetta_ui.matching.compare import Comparison

CPU_IMAGES = 128
GPU_IMAGES = 1_600
"""Images of the default match; the second as published."""


class Engine:
    """Everything that can be asked of Rosetta UI.

    Every method may be called from any thread. Methods that look at a result need its id, as
    `results()` and `JobStatus.result` give it, or the path of a result folder.

    Args:
        settings: what was chosen at start.
        registry: the models; None takes the catalogue, the models added to the cache folder and the
            user's own models file.
    """

    def __init__(self, settings: Settings, registry: Registry | None = None) -> None:
        keep_freed_blocks()  # before any thread: a third less time a picture on a CPU
        self._bench = Workbench.open(settings, registry)
        self._token = register(self._bench)
        self._board = JobBoard()
        self._warming = Warming(self._bench)
        self._views = Views(self._bench, self._token, lambda: not self._warming.loading)
        self._answers = Answers(self._bench.shelf)
        self._grouping = Grouping(
            self._bench, self._token, self._answers, self._views, lambda: not self._warming.loading
        )
        self._plots = Plots(self._bench.shelf, self._answers)
        store, shelf = self._bench.store, self._bench.shelf
        self._carrying = Carrying(store, shelf, self._answers, self._grouping)
        self._sharing = Sharing(shelf, self._answers, self._views, self._carrying)
        self._expressing = Expressing(self._bench, self._token, self._board, self._views)
        self.editing = Editing(self._bench, self._token, self.neurons)
        self.inverting = Inverting(self._bench, self._token, self.pairs)

    # Models

    def readiness(self) -> Readiness:
        """What the status chip says now; never blocks."""
        return self._warming.state

    def warm(self) -> None:
        """Start loading in the background: torch, timm, then missing weights of the default match.

        Returns at once; `readiness` tells how far it is. A second call does nothing.
        """
        self._warming.start()

    def models(self, role: Role | None = None) -> list[ModelStatus]:
        """Every known model with its state, embedded ones first."""
        cards = self._bench.registry.cards(role)
        cards.sort(key=lambda card: not card.embedded)
        return [self._bench.weights.state(card) for card in cards]

    def default_request(self) -> MatchRequest:
        """The match when nothing is chosen: the fast generator and every embedded backbone.

        128 images on a CPU, 1,600 on a GPU (which is seen once torch is loaded).
        """
        return replace(
            MatchRequest(generator=DEFAULT_GENERATOR),
            backbones=default_backbones(self._bench.registry),
            n_images=GPU_IMAGES if self._bench.models.on_gpu else CPU_IMAGES,
        )

    # Jobs

    def start_fetch(self, names: Sequence[str]) -> str:
        """Fetch and convert weights in the background.

        Args:
            names: models; an empty list takes every embedded model that is missing.

        Returns:
            The job's id.

        Raises:
            UnknownModelError: a name is not known.
        """
        registry, weights = self._bench.registry, self._bench.weights
        cards = [registry.card(name) for name in names] or [
            card for card in registry.cards() if card.embedded
        ]

        def work(handle: JobHandle) -> str:
            weights.ensure_all(
                cards,
                lambda done, total, text: handle.progress(done >> 10, total >> 10, text),
                handle.cancel.check,
            )
            return ""

        key = digest("fetch", sorted(card.name for card in cards))
        return self._board.start(f"fetch-{key[:12]}", "fetch", work, "KiB")

    def start_add(self, request: AddRequest) -> str:
        """Add a model from a file or an address in the background; it is listed once it is ready.

        Returns:
            The job's id. A file that cannot be used makes the job fail, with the reason.

        Raises:
            BadRequestError: the name cannot be used or is taken, or a value is malformed.
        """
        work = adding(self._bench, request)
        return self._board.start(f"add-{digest('add', asdict(request))[:12]}", "add", work, "KiB")

    def start_match(self, request: MatchRequest, *, save_every: int = 0) -> str:
        """Match in the background.

        The same request joins its running job, goes on with its stopped run, or finishes at once
        where its result is in the cache.

        Args:
            request: what to match.
            save_every: images between saves of the state; 0 goes by the clock.

        Returns:
            The job's id; its status carries the result's id as soon as there is one.

        Raises:
            BadRequestError: a value cannot be used; says which, and what is allowed.
            UnknownModelError: a model is not known.
            WeightsUnavailableError: a person must first bring a model's weights.
        """
        bench, request = self._bench, checked(request, self._bench.registry)
        if (result := cached_result(bench, request)) is not None:
            sweep_finished(bench, result)
            return self._board.note_done(job_id(request), request, result)
        refuse_missing(bench, request)
        return self._start(
            request, lambda handle: match(bench, self._token, request, handle, every=save_every)
        )

    def start_shared_match(self, request: MatchRequest, *, save_every: int = 0) -> str:
        """Do this process's share of a match that torchrun has spread over several.

        Args:
            request: what to match, the same in every process.
            save_every: images between saves of the state; 0 goes by the clock.

        Returns:
            The job's id; only the process that writes the result gets the result's id.

        Raises:
            BadRequestError, UnknownModelError, WeightsUnavailableError: as `start_match`.
        """
        bench, request = self._bench, checked(request, self._bench.registry)
        refuse_missing(bench, request)

        def work(handle: JobHandle) -> str:
            from rosetta_ui.engine.together import match_together

            result, rank = match_together(bench, request, handle, every=save_every)
            return "" if rank else result

        return self._start(request, work)

    def start_expression(self, result: str, neuron: RosettaNeuron) -> str:
        """Make images that express a neuron, in the background.

        Its four most active natural images are the starts; the generator's own unit is raised, and
        how its partners answer is measured.

        Returns:
            The job's id; `expression` has the images, as it runs and afterwards.

        Raises:
            BadRequestError: there is no generator to draw with, or other weights than the result's.
            WeightsUnavailableError: the generator's weights are not here.
        """
        return self._expressing.start(result, neuron)

    def expression(self, job: str) -> Expression:
        """The images of such a job so far.

        Raises:
            BadRequestError: there is no such job, or it was long ago.
        """
        return self._expressing.expression(job)

    def forget(self, request: MatchRequest) -> None:
        """Drop the state of a request's unfinished run, so that it starts from the first image.

        Raises:
            BadRequestError, UnknownModelError: as `start_match`.
        """
        forget_unfinished(self._bench, checked(request, self._bench.registry))

    def usual_images(self) -> int:
        """Images of the default match on this machine; loads torch to see whether it has a GPU.

        Raises:
            BadRequestError: this machine does not have the device that was asked for.
        """
        return GPU_IMAGES if self._bench.models.device.type != "cpu" else CPU_IMAGES

    def estimate(self, request: MatchRequest) -> Estimate:
        """What a match would cost; raises what `start_match` raises for the same request."""
        return estimate(self._bench, checked(request, self._bench.registry))

    def job(self, job: str) -> JobStatus:
        """A snapshot of one job.

        Raises:
            BadRequestError: there is no such job.
        """
        if self._board.knows(job):
            return self._board.status(job)
        for _, status, _ in unfinished(self._bench):
            if status.job == job:
                return status
        raise BadRequestError(f"There is no job '{job[:40]}'.", "Start it again.")

    def jobs(self) -> list[JobStatus]:
        """Snapshots of every job of this process, newest first."""
        mine = self._board.statuses()
        known = {status.job for status in mine}
        stopped = [status for _, status, _ in unfinished(self._bench) if status.job not in known]
        return mine + stopped

    def stop(self, job: str) -> None:
        """Ask a job to stop; it does within 2 s and keeps what it has. Finished jobs ignore it.

        Raises:
            BadRequestError: there is no such job.
        """
        if self.job(job).state in ("queued", "running"):
            self._board.stop(job)

    # Results

    def results(self) -> list[ResultInfo]:
        """Every result: bundled ones first, then newest first."""
        return self._bench.shelf.list()

    def keep(self, result: str, saved: bool) -> None:
        """Take a result out of the cache's budget, or put it back.

        Raises:
            StoreError: there is no such result, or the cache folder cannot be written.
        """
        self._bench.shelf.keep(result, saved)

    def rename(self, result: str, title: str) -> None:
        """Give a result another title.

        Raises:
            BadRequestError: the title is empty or above 120 characters.
            StoreError: there is no such result, or the cache folder cannot be written.
        """
        self._bench.shelf.rename(result, title)

    def delete(self, result: str) -> None:
        """Remove a result from the disk; a bundled one cannot be removed.

        Raises:
            BadRequestError: it is bundled.
            StoreError: there is no such result, or the cache folder cannot be written.
        """
        self._bench.shelf.delete(result)
        self._bench.store.drop(activations_key(result))

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder that `save_to` could not use; before hours of work, not after.

        Raises:
            StoreError: it holds other files, or cannot be written.
        """
        check_folder(folder)

    def save_to(self, result: str, folder: Path) -> None:
        """Copy a result into a folder of a person's own; an earlier result in it is replaced.

        Raises:
            StoreError: the folder holds other files, cannot be written, or the disk is full.
        """
        copy_result(self._open(result), folder)

    def index(self, result: str) -> dict[str, UnitIndex]:
        """The units of every model of a result; the anchor model comes first."""
        return self._open(result).indexes()

    def summary(self, result: str, selection: Selection) -> MatchSummary:
        """What a person reads first about a result.

        Raises:
            BadRequestError: the result has no such score, or not the tables that the rule needs.
        """
        return self._answers.summary(result, selection)

    def neurons(self, result: str, selection: Selection) -> list[RosettaNeuron]:
        """Anchors with a partner in every backbone, highest `score_min` first, concepts numbered.

        An empty list where no unit passes. Raises what `summary` raises.
        """
        return self._answers.neurons(result, selection)

    def concepts(
        self, result: str, selection: Selection, threshold: float = CONCEPT_THRESHOLD
    ) -> list[ConceptInfo]:
        """Neurons whose maps move together, grouped and told in words.

        Args:
            result: id or path.
            selection: how neurons are chosen.
            threshold: largest average distance (1 - centred correlation) within a concept, 0 to 2.

        Raises:
            BadRequestError: the threshold is outside its range; else what `summary` raises.
        """
        return self._grouping.concepts(result, selection, threshold)

    def classes(
        self, result: str, selection: Selection, threshold: float = CONCEPT_THRESHOLD
    ) -> dict[int, list[ClassFavour]]:
        """The ImageNet classes that go with each concept, by the concept's number.

        Asks every backbone of the result that is here and has such classes about the kept pictures;
        seconds at first, then from the cache. Only what shuffled images do not give is named.
        """
        return self._grouping.classes(result, selection, threshold)

    def pairs(self, result: str, backbone: str, selection: Selection) -> list[tuple[Unit, Partner]]:
        """Matched pairs of one table, highest score first.

        Raises:
            UnknownModelError: the result has no such backbone.
        """
        return self._answers.pairs(result, backbone, selection)

    def report(self, result: str, selection: Selection) -> dict[str, Any]:
        """Nulls, thresholds, split halves, convergence, histograms and depth, as JSON values."""
        return self._answers.report(result, selection)

    def export(self, result: str, selection: Selection) -> dict[str, Any]:
        """The dictionary of Rosetta Neurons, as `rosetta --json` prints it."""
        return self._answers.export(result, selection)

    def plot(
        self,
        result: str,
        selection: Selection,
        name: str,
        model: str = "",
        layers: tuple[str, str] = ("", ""),
    ) -> dict[str, Any]:
        """One plot of a result, as JSON values.

        Args:
            result: id or path.
            selection: how neurons are chosen.
            name: layers, scores, nulls, ... as `plot_names.PLOTS` lists them.
            model: the backbone or model that it shows; empty takes the first.
            layers: (layer of the anchor, layer of the backbone) to see unit by unit.

        Returns:
            title, read (how to read it), figure (plotly's JSON, or None), why (there is none),
            plots (every name and title), choices and model (what can be and is chosen), layers.

        Raises:
            BadRequestError: there is no such plot, or a value does not fit the result.
        """
        return self._plots.plot(result, selection, PlotRequest(name, model, layers))

    def compare(self, first: str, second: str, selection: Selection) -> Comparison:
        """Pairs in both results, only in one, and their scores in both.

        Raises:
            BadRequestError: the results share no generator or no backbone, or lack the score.
        """
        return self._plots.compare(first, second, selection)

    def comparison(
        self, first: str, second: str, selection: Selection, backbone: str = ""
    ) -> dict[str, Any]:
        """`compare` as JSON values: counts of every backbone; pairs and figure of one of them."""
        return self._plots.comparison(first, second, selection, backbone)

    def export_file(
        self,
        result: str,
        selection: Selection,
        kind: str,
        neuron: str = "",
        names: PersonNames | None = None,
    ) -> bytes:
        """A file of a result for others.

        Args:
            result: id or path.
            selection: how neurons are chosen.
            kind: json, csv, parquet (the dictionary), zip (the same with pictures and maps), html
                (the gallery), webp (a film).
            neuron: the film's anchor, spelled; empty takes the best.
            names: what a person called neurons and concepts.

        Raises:
            BadRequestError: the kind is unknown, pyarrow is missing, or there is no such neuron.
            EmptyMatchError: the rule finds no neuron to show.
            StoreError: a bundle is asked for, but the result keeps no maps.
        """
        return self._sharing.file(
            result, selection, ExportRequest(kind, neuron, names or PersonNames())
        )

    def import_file(self, data: bytes) -> Imported:
        """Open a dictionary (JSON) or a bundle (zip) that another installation exported.

        It becomes a result of this cache folder; the same file again gives the same result.

        Raises:
            StoreError: it is neither, damaged, too large, or a value in it cannot be right.
        """
        return self._carrying.take(data)

    # Views

    def images(self, result: str) -> int:
        """How many images of a result can be shown."""
        return self._open(result).record.previews

    def preview(self, result: str, image: int) -> NDArray[np.uint8]:
        """One image: HWC uint8, longer side ≤ 256 px.

        Raises:
            BadRequestError: there is no such image.
        """
        return self._open(result).preview(image)

    def best_images(self, result: str, neuron: RosettaNeuron, n: int = 8) -> list[int]:
        """The images that show a neuron best, best first.

        An image's value is the mean over positions of the normalised anchor map times the
        normalised partner maps, averaged over the backbones.
        """
        return self._views.best_images(self._open(result), neuron, n)

    def thumbs(
        self, result: str, neurons: Sequence[RosettaNeuron], image: int | None = None
    ) -> tuple[NDArray[np.uint8], list[int]]:
        """Small maps of many neurons for the grid; reads the disk only, needs no torch.

        Args:
            result: id or path.
            neurons: rows of the grid.
            image: the image to show, or None for each row's best one.

        Returns:
            uint8 [neurons, models, 16, 16] (models in the order of `index`; 0 is the unit's low and
            255 its high value over the data set; all 0 where no map is stored), and the image of
            each row.
        """
        return self._views.thumbs(self._open(result), neurons, image)

    def heatmaps(
        self, result: str, units: Sequence[Unit], image: int, size: int = 64
    ) -> HeatmapRow:
        """Some units' maps of one image, all of the same image.

        Native maps, their longer side at most `size`, where the weights are on this machine (then
        kept in the cache); else the stored 16×16 maps scaled back to activations.

        Raises:
            BadRequestError: no such image, or a unit is not in the result.
            StoreError: a unit has no stored map and the weights are not on this machine.
        """
        return self._views.heatmaps(self._open(result), units, image, size)

    def active_units(
        self, result: str, image: int, box: tuple[float, float, float, float], most: int = 12
    ) -> list[ActiveUnits]:
        """The units of every model that are most active at a place, matched or not.

        All units of a model are ranked where its weights are on this machine or the cache still has
        the small maps of all units; else those whose maps the result keeps.

        Args:
            result: id or path.
            image: which.
            box: x0, y0, x1, y1 as fractions; a point names it twice.
            most: how many of each model to name.

        Raises:
            BadRequestError: there is no such image.
        """
        return self._views.active(self._open(result), image, box, most)

    # The end

    def wait(self, job: str, timeout: float | None = None) -> JobStatus:
        """Wait until a job of this process is over, or for some seconds; then a snapshot.

        Raises:
            BadRequestError: there is no such job in this process.
        """
        return self._board.wait(job, timeout)

    def close(self) -> None:
        """Stop every job, let each keep what it has, and close the cache."""
        self._warming.stop()
        self.editing.desk.close_all()
        self.inverting.desk.close_all()
        self._board.close()
        unregister(self._token)
        self._bench.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _start(self, request: MatchRequest, work: Work) -> str:
        bench, job = self._bench, job_id(request)

        def known(handle: JobHandle) -> str:
            bench.handles[job] = handle  # so that Stop reaches the layers
            try:
                return work(handle)
            finally:
                del bench.handles[job]
                give_back_freed_blocks()

        return self._board.start(job, "match", known, request=request)

    def _open(self, result: str) -> ResultFolder:
        return self._bench.shelf.open(result)
