"""Getting ready in the background: torch and timm, then the weights that are missing.

The page is up before any of it begins; the status chip says how far it is.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time

from rosetta_ui.engine.jobs import Cancel
from rosetta_ui.engine.requests import DEFAULT_GENERATOR
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import Cancelled, RosettaError
from rosetta_ui.types import ModelCard, Readiness

log = logging.getLogger(__name__)

_MODULES = ("torch", "timm", "rosetta_ui.engine.matching_job", "rosetta_ui.engine.looking")


class Warming:
    """Loads what is heavy in a thread of its own.

    Args:
        bench: models and weights.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._lock = threading.Lock()
        self._state = Readiness("starting", "Starting.")
        self._thread: threading.Thread | None = None
        self._cancel = Cancel()
        self._loaded = threading.Event()
        self._fetch_failed = False

    @property
    def state(self) -> Readiness:
        """How far it is."""
        with self._lock:
            state = self._state
        if self._fetch_failed and not any(self._missing(card) for card in self._wanted()):
            return self._ready()  # somebody brought the weights meanwhile
        return state

    @property
    def loading(self) -> bool:
        """Whether torch is being imported now; whoever needs it would have to wait for seconds."""
        with self._lock:
            return self._thread is not None and not self._loaded.is_set()

    def start(self) -> None:
        """Begin; a second call does nothing."""
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="rosetta-warm", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End a fetch that is under way."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        try:
            self._load()
            if self._bench.settings.fetch:
                self._fetch()
            self._say(self._ready())
        except Cancelled:
            self._say(Readiness("starting", "Stopped."))
        except RosettaError as error:
            log.warning("not ready: %s", error.sentence)
            self._say(Readiness("failed", error.sentence))
        except BaseException as error:
            self._say(Readiness("failed", f"Starting broke: {error}. See the log."))
            raise
        finally:
            self._loaded.set()

    def _load(self) -> None:
        begun = time.monotonic()
        for done, name in enumerate(_MODULES):
            self._say(Readiness("loading", f"Loading {name.split('.')[0]}.", done / len(_MODULES)))
            importlib.import_module(name)
            self._cancel.check()
        device = self._bench.models.device  # says plainly where it is not there
        self._loaded.set()
        log.info("loaded in %.1f s, on %s", time.monotonic() - begun, device)

    def _fetch(self) -> None:
        missing = [card for card in self._wanted() if self._missing(card)]
        if missing:
            self._fetch_failed = True
            self._bench.weights.ensure_all(missing, self._progress, self._cancel.check)
            self._fetch_failed = False

    def _wanted(self) -> list[ModelCard]:
        """The embedded zoo; what the default match needs comes first."""
        cards = [card for card in self._bench.registry.cards() if card.embedded]
        return sorted(
            cards, key=lambda c: (c.role == "generator") - 2 * (c.name == DEFAULT_GENERATOR)
        )

    def _missing(self, card: ModelCard) -> bool:
        return self._bench.weights.state(card).state == "fetch"

    def _progress(self, done: int, total: int, text: str) -> None:
        fraction = done / total if total else float("nan")
        self._say(Readiness("fetching", text, min(fraction, 1.0)))

    def _ready(self) -> Readiness:
        missing = [card.title for card in self._wanted() if self._missing(card)]
        device = self._bench.models.device
        if missing:
            text = f"Ready on {device}; weights of {', '.join(missing)} are not here yet."
        else:
            text = f"Ready on {device}."
        return Readiness("ready", text, 1.0)

    def _say(self, state: Readiness) -> None:
        with self._lock:
            self._state = state
