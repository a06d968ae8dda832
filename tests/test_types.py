"""The values that cross the seams."""

from __future__ import annotations

import json

import pytest

from rosetta_ui.errors import BadRequestError, UnknownLayerError, UnknownModelError
from rosetta_ui.types import LayerSpec, ModelCard, Unit, UnitIndex, WeightSource

LAYERS = (LayerSpec("m", "a.0", 3, (4, 4)), LayerSpec("m", "b", 5, (2, 7), "tokens", 1))


def test_a_unit_reads_back_from_its_text() -> None:
    unit = Unit("dinov2-s", "blocks.8.mlp.act", 217)
    assert str(unit) == "dinov2-s/blocks.8.mlp.act:217"
    assert Unit.parse(str(unit)) == unit


@pytest.mark.parametrize("text", ["", "a/b", "a:1", "a/b:-1", "a/b:x", "a/b:1:2", "/b:1"])
def test_other_texts_are_no_units(text: str) -> None:
    with pytest.raises(BadRequestError, match="is not a unit"):
        Unit.parse(text)


def test_flat_numbers_and_units_are_two_spellings_of_one_thing() -> None:
    index = UnitIndex(LAYERS)
    assert len(index) == 8
    assert [index.flat(unit) for unit in index] == list(range(8))
    assert [index.unit(i) for i in range(8)] == list(index)
    assert index.unit(3) == Unit("m", "b", 0)
    assert index.layer_slice("b") == slice(3, 8)
    assert [index.depth(i) for i in (0, 2, 3, 7)] == [0, 0, 1, 1]


@pytest.mark.parametrize("flat", [-1, 8, 10**9])
def test_a_flat_number_outside_says_the_range(flat: int) -> None:
    with pytest.raises(BadRequestError) as raised:
        UnitIndex(LAYERS).unit(flat)
    assert "0 to 7" in raised.value.hint


def test_units_of_other_models_layers_or_channels_are_refused() -> None:
    index = UnitIndex(LAYERS)
    with pytest.raises(BadRequestError, match="not a unit of m"):
        index.flat(Unit("other", "b", 0))
    with pytest.raises(UnknownLayerError) as raised:
        index.flat(Unit("m", "c", 0))
    assert "a.0" in raised.value.hint
    with pytest.raises(BadRequestError, match="no such channel"):
        index.flat(Unit("m", "b", 5))


def test_a_card_survives_json() -> None:
    card = ModelCard(
        "x",
        "generator",
        "dcgan",
        "X",
        "about",
        "MIT",
        "any use",
        source=WeightSource("wheel", "pkg", "1.0", "00" * 32, ("a/b.bin",), size=5),
        spaces=("z", "w"),
        options={"layers": ["a", "b"]},
    )
    back = ModelCard.from_json(json.loads(json.dumps(card.to_json())))
    assert back.source == card.source
    assert back.spaces == card.spaces
    assert back.name == card.name


def test_a_card_with_foreign_or_missing_fields_is_refused() -> None:
    with pytest.raises(BadRequestError, match="unknown fields: run"):
        ModelCard.from_json({"run": "rm"})
    with pytest.raises(BadRequestError, match="incomplete"):
        ModelCard.from_json({"name": "x"})


def test_an_unknown_model_names_the_nearest() -> None:
    error = UnknownModelError("resnet5", ["resnet50", "mae", "clip"], "backbone")
    assert "resnet50" in error.hint
    assert "mae" not in error.hint
