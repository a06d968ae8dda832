from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.store import keys
from rosetta_ui.store.keys import canonical, digest
from rosetta_ui.types import MatchRequest

REQUEST = MatchRequest(backbones=("a", "b"))

OTHER = {
    "generator": "mobilestylegan",
    "backbones": ("b", "a"),
    "n_images": 129,
    "batch_size": 4,
    "seed": 1,
    "psi": 0.5,
    "class_index": 0,
    "photos": "folder",
    "score": "centred",
    "backbone_pairs": True,
    "dtype": "float64",
    "half": True,
}


def test_equal_inputs_have_one_key() -> None:
    assert digest("match", REQUEST) == digest("match", MatchRequest(backbones=("a", "b")))
    assert digest("match", {"a": 1, "b": 2}) == digest("match", {"b": 2, "a": 1})
    assert digest("match", replace(REQUEST, psi=1)) == digest("match", replace(REQUEST, psi=1.0))
    assert digest("match", {"x": -0.0}) == digest("match", {"x": 0})
    assert digest("match", (1, 2)) == digest("match", [1, 2])


@pytest.mark.parametrize("field", [f.name for f in fields(MatchRequest)])
def test_every_field_of_a_request_changes_the_key(field: str) -> None:
    assert digest("match", replace(REQUEST, **{field: OTHER[field]})) != digest("match", REQUEST)


def test_kind_and_schema_change_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest("match", REQUEST)
    assert digest("heatmaps", REQUEST) != before
    monkeypatch.setattr(keys, "SCHEMA", keys.SCHEMA + 1)
    assert digest("match", REQUEST) != before


def test_values_that_look_alike_stay_apart() -> None:
    values = [None, False, 0, "", [], {}, "0", [0], True, 1, "1", 0.1, 0.1 + 1e-17, 0.1 + 2e-17]
    distinct = {digest("match", {"v": value}) for value in values}
    assert len(distinct) == len({repr(value) for value in values})
    assert digest("match", {"a": ["b", "c"]}) != digest("match", {"a": ["bc"]})


def test_a_key_is_a_short_name_that_stays_the_same() -> None:
    key = digest("match", {"ψ": 0.7, "seed": 0})
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
    # Held here so that a change of the canonical form is a decision and not an accident.
    assert key == KNOWN


KNOWN = "f3819acc91554b408d17ed5dd071e461"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (Path("x"), TypeError),
        (np.zeros(2), TypeError),
        ({1: 2}, TypeError),
        ({"a": {2, 3}}, TypeError),
        (b"bytes", TypeError),
    ],
)
def test_what_does_not_say_what_it_depends_on_is_refused(value, error) -> None:
    with pytest.raises(error):
        canonical(value)
