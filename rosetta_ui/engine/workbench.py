"""What the engine's parts share: settings, models, disk, the device's lock. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ui.engine.jobs import DeviceLock, JobHandle
from rosetta_ui.engine.residency import Residency
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.settings import GIB, PROJECT, Settings
from rosetta_ui.store.shelf import ResultShelf
from rosetta_ui.store.store import Store

BUNDLED = (PROJECT / "assets", PROJECT / "assets" / "dictionaries")
"""Folders whose subfolders may be results that come with the project."""

FIRST = "mobilestylegan"
"""The bundled result that lists begin with: the Gallery opens with it."""


@dataclass
class Workbench:
    """One of everything.

    Attributes:
        settings: what was chosen at start.
        registry: knows the models.
        weights: has their weights.
        store: the cache of results and arrays.
        shelf: the list of results.
        models: those that are loaded.
        lock: for the device.
        handles: of the jobs that run in this process, by id.
        process: the process that made this bench; a forked copy has neither its locks nor its jobs.
    """

    settings: Settings
    registry: Registry
    weights: WeightStore
    store: Store
    shelf: ResultShelf
    models: Residency
    lock: DeviceLock = field(default_factory=DeviceLock)
    handles: dict[str, JobHandle] = field(default_factory=dict[str, JobHandle])
    process: int = field(default_factory=os.getpid)

    @classmethod
    def open(cls, settings: Settings, registry: Registry | None = None) -> Workbench:
        """Open the cache folder and read the cards.

        Raises:
            StoreError: the cache folder cannot be written.
            BadRequestError: a model file or the device's name cannot be used.
        """
        store = Store(settings.cache_dir, int(settings.budget_gb * GIB))
        weights = WeightStore(settings.cache_dir)
        known = registry or build_registry(weights.added, settings.models_file)
        return cls(
            settings=settings,
            registry=known,
            weights=weights,
            store=store,
            # A page that strangers open must not read folders that they name.
            shelf=ResultShelf(store, BUNDLED, first=FIRST, paths=settings.private),
            models=Residency(known, weights, settings.device),
        )

    @property
    def here(self) -> bool:
        """Whether this is the process whose locks and jobs these are."""
        return os.getpid() == self.process

    def handle(self, job: str) -> JobHandle | None:
        """The running job of this id, if it runs in this process."""
        return self.handles.get(job) if self.here else None

    def pause(self, handle: JobHandle | None) -> None:
        """Between two layers of a long job: stop if asked to, else let whoever waits go first.

        Raises:
            Cancelled: somebody pressed Stop.
        """
        if handle is not None:
            handle.cancel.check()
        if self.here:
            self.lock.give_way()

    def work_folder(self, key: str) -> Path:
        """Where the unfinished run of a result keeps its state."""
        return self.settings.cache_dir / "work" / key

    def close(self) -> None:
        """Close the cache's index."""
        self.store.close()
