"""Images that express a neuron, as jobs: started, followed, stopped, and kept for a while.

Imports no torch; what needs it goes through `dispatch` while the device is held.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.jobs import JobBoard, JobHandle
from rosetta_ui.engine.views import Views
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, WeightsUnavailableError
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.keys import digest
from rosetta_ui.types import ExpressedImage, Expression, RosettaNeuron, Unit

IMAGES = 4
STEPS = 60

FINE = 64
"""Side of maps above which two images are made, in fewer steps: one then costs as much as the whole
picture. The limit on the way of w is reached within ten."""

FINE_STEPS = 20
_KEPT = 24


class Expressing:
    """Makes images that express neurons.

    Args:
        bench: models, disk and the device's lock.
        token: of the bench, for `dispatch`.
        board: runs the jobs.
        views: knows small maps.
    """

    def __init__(self, bench: Workbench, token: str, board: JobBoard, views: Views) -> None:
        self._bench, self._token = bench, token
        self._board, self._views = board, views
        self._made: OrderedDict[str, Expression] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, result: str, neuron: RosettaNeuron) -> str:
        """See `Engine.start_expression`."""
        folder = self._bench.shelf.open(result)
        self._refuse(folder)
        units = (neuron.anchor, *self._ready_partners(folder, neuron))
        fine = max(folder.index(neuron.anchor.model).layer(neuron.anchor.layer).size) > FINE
        starts = self._starts(folder, neuron.anchor, 2 if fine else IMAGES)
        steps = FINE_STEPS if fine else STEPS
        asked = {"result": result, "created": folder.record.created, "starts": starts}
        key = digest("express", {**asked, "units": [str(unit) for unit in units]})
        job = f"express-{key[:12]}"
        with self._lock:
            known = self._made.get(job)
            if known is not None and known.images and known.step == known.steps:
                return job  # made before, and still here
            self._made[job] = Expression(result, neuron.anchor, (), 0, steps)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        values = {
            **{"request": folder.request, "units": units, "starts": starts, "steps": steps},
            "moments": _moments(folder, neuron.anchor),
        }

        def work(handle: JobHandle) -> str:
            self._run(folder, job, values, handle)
            return ""

        return self._board.start(job, "express", work, "steps")

    def expression(self, job: str) -> Expression:
        """See `Engine.expression`."""
        with self._lock:
            known = self._made.get(job)
        if known is None:
            raise BadRequestError("These images are no longer here.", "Ask for them again.")
        return known

    def _run(
        self, folder: ResultFolder, job: str, values: Mapping[str, Any], handle: JobHandle
    ) -> None:
        bench = self._bench
        bench.handles[job] = handle
        try:
            with bench.lock.hold():
                handle.progress(0, 0, "Loading the models and drawing the natural images.")
                natural: Sequence[Mapping[str, Any]] = ()
                for said in dispatch("express", self._token, {**values, "job": job}):
                    handle.progress(said["step"], said["steps"], "Raising its activity.")
                    if said["shown"] is not None:
                        natural = natural or said["shown"]
                        self._keep(folder, job, values, (natural, said))
        finally:
            bench.handles.pop(job, None)

    def _keep(
        self,
        folder: ResultFolder,
        job: str,
        values: Mapping[str, Any],
        shown: tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        natural, said = shown
        images = tuple(
            ExpressedImage(
                start=start,
                before=before["picture"],
                after=after["picture"],
                maps=after["maps"],
                activity_before=_standardised(folder, before["means"]),
                activity_after=_standardised(folder, after["means"]),
            )
            for start, before, after in zip(values["starts"], natural, said["shown"], strict=True)
        )
        with self._lock:
            if job in self._made:
                was = self._made[job]
                self._made[job] = Expression(
                    was.result, was.neuron, images, said["step"], said["steps"]
                )

    def _starts(self, folder: ResultFolder, anchor: Unit, wanted: int) -> list[int]:
        """The natural images in which the neuron is most active already."""
        maps, numbers = self._views.small(folder, anchor), self._views.image_numbers(folder)
        if maps is None:
            return list(range(wanted))
        order = (-maps.mean((1, 2))).argsort(kind="stable")[:wanted]
        return [numbers[int(at)] for at in order]

    def _ready_partners(self, folder: ResultFolder, neuron: RosettaNeuron) -> list[Unit]:
        return [
            partner.unit
            for name, partner in neuron.partners.items()
            if self._same_weights(folder, name)
        ]

    def _refuse(self, folder: ResultFolder) -> None:
        """Raise where the generator that drew the result's images cannot draw here."""
        name = folder.request.generator
        if not name:
            raise BadRequestError(
                "This result was matched on photos, so there is no generator to draw with.",
                "Choose a result of a generator.",
            )
        registry, weights = self._bench.registry, self._bench.weights
        status = weights.state(registry.card(name, "generator"))
        if status.state != "ready":
            raise WeightsUnavailableError(
                status.detail, status.command and f"Run: {status.command}"
            )
        if not self._same_weights(folder, name):
            raise BadRequestError(
                f"The weights of '{name}' here are not those of this result.",
                "Match again with the weights that are here.",
            )
        if folder.stats(name) is None:
            raise BadRequestError(
                "This result keeps no statistics of its units.", "Run the match again."
            )

    def _same_weights(self, folder: ResultFolder, name: str) -> bool:
        registry, weights = self._bench.registry, self._bench.weights
        if name not in registry.names():
            return False
        card = registry.card(name)
        ready = weights.state(card).state == "ready"
        return ready and weights.digest(card) == folder.model(name).digest


def _moments(folder: ResultFolder, unit: Unit) -> tuple[float, float]:
    """Mean and deviation of a unit over the data set.

    Raises:
        BadRequestError: it never varies.
    """
    stats, flat = folder.stats(unit.model), folder.index(unit.model).flat(unit)
    if stats is None or not stats.deviation[flat] > 0:
        raise BadRequestError(f"{unit} never varies, so nothing expresses it.")
    return float(stats.mean[flat]), float(stats.deviation[flat])


def _standardised(folder: ResultFolder, means: Mapping[Unit, float]) -> dict[Unit, float]:
    """Mean activations in deviations above the unit's own mean; NaN where nothing is kept."""
    found: dict[Unit, float] = {}
    for unit, value in means.items():
        stats, flat = folder.stats(unit.model), folder.index(unit.model).flat(unit)
        deviation = math.nan if stats is None else float(stats.deviation[flat])
        mean = math.nan if stats is None else float(stats.mean[flat])
        found[unit] = (value - mean) / deviation if deviation > 0 else math.nan
    return found
