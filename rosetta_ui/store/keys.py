"""Keys: what a stored thing depends on, as one digest.

Two things share a key only where every input is the same: weights' digests, layers, seeds, ψ,
preprocessing, and the number of the code that made them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

SCHEMA = 1
"""Raised with every change that moves a score, map or picture: old entries are not found then."""


def canonical(value: Any) -> Any:
    """A value as plain JSON values of which equal inputs have only one form.

    Dataclasses become objects, tuples lists; 1.0 and 1 are the same, as are 0.0 and -0.0.

    Raises:
        TypeError: a value of another kind (a path or an array does not say what it depends on).
        ValueError: a number that is not finite.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if any(not isinstance(name, str) for name in value):
            raise TypeError("names in a key must be text")
        return {name: canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be part of a key")
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be part of a key")


def digest(kind: str, inputs: Any) -> str:
    """The key of what depends on these inputs: 32 hexadecimal digits of a SHA-256.

    Args:
        kind: what is stored, such as "match" or "heatmaps"; different kinds never collide.
        inputs: a dataclass or JSON values; everything the thing depends on.

    Raises:
        TypeError, ValueError: see `canonical`.
    """
    whole = {"schema": SCHEMA, "kind": kind, "inputs": canonical(inputs)}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]
