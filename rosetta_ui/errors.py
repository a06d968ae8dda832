"""What can go wrong, as sentences a person can act on.

    RosettaError(message, hint)
    ├─ BadRequestError           a value that a person gave: which one, what was expected
    ├─ UnknownModelError         the bad name, the nearest known names
    ├─ UnknownLayerError         the bad layer, the layers there are
    ├─ WeightsUnavailableError   which file, from where, which digest, what still works without it
    ├─ WeightsCorruptError       which file, the digest expected and found
    ├─ UnsafeFileError           a foreign file that asks for more than numbers
    ├─ NotSpatialError           the layer, its shape, what was expected
    ├─ EmptyMatchError           k, number of units, best score seen
    ├─ OptimisationDivergedError the step and the last finite loss; the last good step is kept
    ├─ StoreError                a cache folder or result that cannot be read or written
    │  └─ StaleCacheError        made by another version or of other inputs
    └─ DeviceMemoryError         bytes needed, bytes free, the smaller setting to try

`ValueError` and `TypeError` stay a programmer's mistake; `Cancelled` is control flow.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RosettaError(Exception):
    """An error fit for a toast: `str()` is one sentence, `hint` is the next step.

    Args:
        message: what was wrong, with the value and what was expected.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def sentence(self) -> str:
        """Message and hint as one line of text."""
        return f"{self.message} {self.hint}".strip()


class BadRequestError(RosettaError):
    """A value that a person gave cannot be used."""


class UnknownModelError(RosettaError):
    """No model has this name.

    Args:
        name: what was asked for.
        known: every name there is, of the role that was asked for.
        role: "generator", "backbone" or "model", for the sentence.
    """

    def __init__(self, name: str, known: Iterable[str], role: str = "model") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names
        super().__init__(f"There is no {role} called '{name}'.", f"Try {', '.join(near)}.")
        self.name = name


class UnknownLayerError(RosettaError):
    """The model has no such layer.

    Args:
        layer: what was asked for.
        model: the model that was searched.
        known: the layers it has.
    """

    def __init__(self, layer: str, model: str, known: Iterable[str]) -> None:
        names = list(known)
        near = difflib.get_close_matches(layer, names, n=3, cutoff=0.4) or names[:8]
        super().__init__(f"'{model}' has no layer '{layer}'.", f"It has {', '.join(near)}.")


class WeightsUnavailableError(RosettaError):
    """Weights that are needed are not on this machine and could not be had."""


class WeightsCorruptError(RosettaError):
    """A weights file is not the one that its digest names."""


class UnsafeFileError(RosettaError):
    """A foreign file holds something other than numbers; nothing in it was run."""


class NotSpatialError(RosettaError):
    """A layer's output is not a map over positions."""


class EmptyMatchError(RosettaError):
    """No unit was matched under these settings."""


class OptimisationDivergedError(RosettaError):
    """A loss stopped being finite; the last good step is kept."""


class StoreError(RosettaError):
    """A cache folder or a saved result cannot be read or written."""


class StaleCacheError(StoreError):
    """A saved result was made by another version or from other inputs."""


class DeviceMemoryError(RosettaError):
    """The device has too little memory even for one image."""


class Cancelled(Exception):  # noqa: N818 - control flow, not an error
    """Raised inside a long job after somebody pressed Stop."""
