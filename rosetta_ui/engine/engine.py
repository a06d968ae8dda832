"""The engine's façade: what the page and the command line call.

It takes and gives ids, frozen dataclasses of `rosetta_ui.types` and numpy arrays; never a tensor, a
module or a widget. It imports no torch: what needs torch is imported inside the call that needs it.
It knows which parts do the work and in which order they are asked; it computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.models.registry import Registry
from rosetta_ui.settings import Settings
from rosetta_ui.types import (
    Estimate,
    HeatmapRow,
    JobStatus,
    MatchRequest,
    MatchSummary,
    ModelStatus,
    Partner,
    Readiness,
    ResultInfo,
    Role,
    RosettaNeuron,
    Selection,
    Unit,
    UnitIndex,
)


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
        raise NotImplementedError

    # Models

    def readiness(self) -> Readiness:
        """What the status chip says now; never blocks."""
        raise NotImplementedError

    def warm(self) -> None:
        """Start loading in the background: torch, timm, then missing weights of the default match.

        Returns at once; `readiness` tells how far it is. A second call does nothing.
        """
        raise NotImplementedError

    def models(self, role: Role | None = None) -> list[ModelStatus]:
        """Every known model with its state, embedded ones first."""
        raise NotImplementedError

    def default_request(self) -> MatchRequest:
        """The match when nothing is chosen: the fast generator and every embedded backbone.

        128 images on a CPU, 1,600 on a GPU (which is seen once torch is loaded).
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def start_match(self, request: MatchRequest) -> str:
        """Match in the background.

        The same request joins its running job, goes on with its stopped run, or finishes at once
        where its result is in the cache.

        Returns:
            The job's id; its status carries the result's id as soon as there is one.

        Raises:
            BadRequestError: a value cannot be used; says which, and what is allowed.
            UnknownModelError: a model is not known.
            WeightsUnavailableError: a person must first bring a model's weights.
        """
        raise NotImplementedError

    def estimate(self, request: MatchRequest) -> Estimate:
        """What a match would cost; raises what `start_match` raises for the same request."""
        raise NotImplementedError

    def job(self, job: str) -> JobStatus:
        """A snapshot of one job.

        Raises:
            BadRequestError: there is no such job.
        """
        raise NotImplementedError

    def jobs(self) -> list[JobStatus]:
        """Snapshots of every job of this process, newest first."""
        raise NotImplementedError

    def stop(self, job: str) -> None:
        """Ask a job to stop; it does within 2 s and keeps what it has. Finished jobs ignore it.

        Raises:
            BadRequestError: there is no such job.
        """
        raise NotImplementedError

    # Results

    def results(self) -> list[ResultInfo]:
        """Every result: bundled ones first, then newest first."""
        raise NotImplementedError

    def keep(self, result: str, saved: bool) -> None:
        """Take a result out of the cache's budget, or put it back.

        Raises:
            StoreError: there is no such result, or the cache folder cannot be written.
        """
        raise NotImplementedError

    def rename(self, result: str, title: str) -> None:
        """Give a result another title.

        Raises:
            BadRequestError: the title is empty or above 120 characters.
            StoreError: there is no such result, or the cache folder cannot be written.
        """
        raise NotImplementedError

    def delete(self, result: str) -> None:
        """Remove a result from the disk; a bundled one cannot be removed.

        Raises:
            BadRequestError: it is bundled.
            StoreError: there is no such result, or the cache folder cannot be written.
        """
        raise NotImplementedError

    def index(self, result: str) -> dict[str, UnitIndex]:
        """The units of every model of a result; the anchor model comes first."""
        raise NotImplementedError

    def summary(self, result: str, selection: Selection) -> MatchSummary:
        """What a person reads first about a result.

        Raises:
            BadRequestError: the result has no such score, or not the tables that the rule needs.
        """
        raise NotImplementedError

    def neurons(self, result: str, selection: Selection) -> list[RosettaNeuron]:
        """Anchors with a partner in every backbone, highest `score_min` first, concepts numbered.

        An empty list where no unit passes. Raises what `summary` raises.
        """
        raise NotImplementedError

    def pairs(self, result: str, backbone: str, selection: Selection) -> list[tuple[Unit, Partner]]:
        """Matched pairs of one table, highest score first.

        Raises:
            UnknownModelError: the result has no such backbone.
        """
        raise NotImplementedError

    def report(self, result: str, selection: Selection) -> dict[str, Any]:
        """Nulls, thresholds, split halves, convergence, histograms and depth, as JSON values."""
        raise NotImplementedError

    def export(self, result: str, selection: Selection) -> dict[str, Any]:
        """The dictionary of Rosetta Neurons, as `rosetta --json` prints it."""
        raise NotImplementedError

    # Views

    def images(self, result: str) -> int:
        """How many images of a result can be shown."""
        raise NotImplementedError

    def preview(self, result: str, image: int) -> NDArray[np.uint8]:
        """One image: HWC uint8, longer side ≤ 256 px.

        Raises:
            BadRequestError: there is no such image.
        """
        raise NotImplementedError

    def best_images(self, result: str, neuron: RosettaNeuron, n: int = 8) -> list[int]:
        """The images that show a neuron best, best first.

        An image's value is the mean over positions of the normalised anchor map times the
        normalised partner maps, averaged over the backbones.
        """
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError
