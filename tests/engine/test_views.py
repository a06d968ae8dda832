"""What a person sees of a result: one image in every model, from the disk or from the models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, StoreError, UnknownModelError
from rosetta_ui.models.registry import Registry
from rosetta_ui.settings import Settings
from rosetta_ui.types import JobStatus, MatchRequest, RosettaNeuron, Selection, Unit

Finish = Callable[[Engine, MatchRequest], JobStatus]


def native(registry: Registry, unit: Unit, image: int) -> np.ndarray:
    """The unit's map by the models themselves."""
    import torch

    from rosetta_ui.probing.taps import tap

    generator = registry.loader("planted-gan")(registry.card("planted-gan"), {})
    with tap(generator.net, generator.layers) as maps:
        images = generator.synthesise(generator.sample([image], 0))
    if unit.model != "planted-gan":
        backbone = registry.loader(unit.model)(registry.card(unit.model), {})
        with torch.inference_mode(), tap(backbone.net, backbone.layers) as maps:
            backbone.forward(backbone.prepare(images))
    return maps[unit.layer][0, unit.channel].numpy()


def units_of(neuron: RosettaNeuron) -> list[Unit]:
    return [neuron.anchor, *(partner.unit for partner in neuron.partners.values())]


@pytest.fixture
def neurons(planted: tuple[Engine, str]) -> list[RosettaNeuron]:
    engine, result = planted
    return engine.neurons(result, Selection())


def test_previews_are_the_pictures(planted: tuple[Engine, str]) -> None:
    engine, result = planted
    assert engine.images(result) == 48
    picture = engine.preview(result, 47)
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    with pytest.raises(BadRequestError, match="image 48"):
        engine.preview(result, 48)


def test_heatmaps_are_the_models_own_maps_of_that_image(
    planted: tuple[Engine, str], tiny_registry: Registry, neurons: list[RosettaNeuron]
) -> None:
    engine, result = planted
    for image in (0, 47):
        units = units_of(neurons[3])
        row = engine.heatmaps(result, units, image)
        assert row.image_index == image
        np.testing.assert_array_equal(row.picture, engine.preview(result, image))
        for unit in units:
            expected = native(tiny_registry, unit, image)
            np.testing.assert_allclose(row.maps[unit], expected, atol=2e-3)
            low, high = row.ranges[unit]
            assert low <= expected.min() + 2e-3
            assert high >= expected.max() - 2e-3


def test_smaller_heatmaps_are_averages(
    planted: tuple[Engine, str], neurons: list[RosettaNeuron]
) -> None:
    engine, result = planted
    unit = next(n.anchor for n in neurons if n.anchor.layer == "fine")
    whole = engine.heatmaps(result, [unit], 5).maps[unit]
    small = engine.heatmaps(result, [unit], 5, size=4).maps[unit]
    assert whole.shape == (8, 8)
    np.testing.assert_allclose(small, whole.reshape(4, 2, 4, 2).mean((1, 3)), rtol=1e-5)
    with pytest.raises(BadRequestError, match="size is 65"):
        engine.heatmaps(result, [unit], 5, size=65)


def test_heatmaps_are_kept_so_that_no_model_is_asked_twice(
    planted: tuple[Engine, str], neurons: list[RosettaNeuron], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, result = planted
    units = units_of(neurons[0])
    first = engine.heatmaps(result, units, 7)

    def never(*_: object) -> None:
        raise AssertionError("a model was asked again")

    monkeypatch.setattr("rosetta_ui.engine.views.dispatch", never)
    again = engine.heatmaps(result, units_of(neurons[1]), 7)  # other units, the same image
    assert set(again.maps) == set(units_of(neurons[1]))
    engine._views._native.clear()  # as after a restart: from the disk
    for unit, values in engine.heatmaps(result, units, 7).maps.items():
        np.testing.assert_array_equal(values, first.maps[unit])


def test_without_the_model_the_stored_maps_are_shown(
    planted: tuple[Engine, str], tmp_path: Path, neurons: list[RosettaNeuron]
) -> None:
    engine, result = planted
    shutil.copytree(engine._bench.shelf.path(result), tmp_path / "result")
    with Engine(Settings(cache_dir=tmp_path / "cache"), Registry()) as elsewhere:
        units = units_of(neurons[0])
        row = elsewhere.heatmaps(str(tmp_path / "result"), units, 7)
        for unit, values in engine.heatmaps(result, units, 7).maps.items():
            assert row.maps[unit].shape == (16, 16)
            low, high = row.ranges[unit]
            # 16 cells of a side show an 8-cell map smoothly: the corners of a block stay near.
            assert abs(float(row.maps[unit].mean() - values.mean())) < 0.1 * (high - low)
        shown, images = elsewhere.thumbs(str(tmp_path / "result"), neurons)
        ours, same = engine.thumbs(result, neurons)
        np.testing.assert_array_equal(shown, ours)
        assert images == same
        for path in (tmp_path / "result").glob("views*"):
            assert path.is_file()


def test_a_unit_without_stored_maps_and_without_a_model_is_said_plainly(
    tmp_path: Path, planted: tuple[Engine, str]
) -> None:
    engine, result = planted
    copy = tmp_path / "result"
    shutil.copytree(engine._bench.shelf.path(result), copy)
    with Engine(Settings(cache_dir=tmp_path / "cache"), Registry()) as elsewhere:
        elsewhere._bench.shelf.open(str(copy))._views = None
        folder = elsewhere._bench.shelf.open(str(copy))
        views = folder.views()
        assert views is not None
        kept = views.models["planted-gan"]
        object.__setattr__(kept, "units", kept.units + 1000)
        with pytest.raises(StoreError) as caught:
            elsewhere.heatmaps(str(copy), [Unit("planted-gan", "coarse", 0)], 0)
    assert "zoo fetch planted-gan" in caught.value.hint


def test_units_that_are_not_in_the_result_are_refused(planted: tuple[Engine, str]) -> None:
    engine, result = planted
    with pytest.raises(UnknownModelError):
        engine.heatmaps(result, [Unit("elsewhere", "coarse", 0)], 0)
    with pytest.raises(BadRequestError, match="no such channel"):
        engine.heatmaps(result, [Unit("planted-gan", "coarse", 12)], 0)
    with pytest.raises(BadRequestError):
        engine.heatmaps(result, [Unit("planted-gan", "coarse", 0)], 48)


def test_the_grid_shows_every_model_on_one_image(
    planted: tuple[Engine, str], neurons: list[RosettaNeuron]
) -> None:
    engine, result = planted
    models = list(engine.index(result))
    maps, images = engine.thumbs(result, neurons, image=9)
    assert maps.shape == (24, 3, 16, 16)
    assert images == [9] * 24
    for row, neuron in enumerate(neurons):
        for unit in units_of(neuron):
            shown = maps[row, models.index(unit.model)].astype(float) / 255
            heat = engine.heatmaps(result, [unit], 9)
            low, high = heat.ranges[unit]
            values = heat.maps[unit]
            assert abs(shown.mean() * (high - low) + low - values.mean()) < 0.1 * (high - low)
    with pytest.raises(BadRequestError, match="image 48"):
        engine.thumbs(result, neurons, image=48)


def test_the_best_images_are_those_where_all_models_agree(
    planted: tuple[Engine, str], neurons: list[RosettaNeuron]
) -> None:
    engine, result = planted
    neuron = neurons[0]
    best = engine.best_images(result, neuron, 48)
    assert sorted(best) == list(range(48))
    assert engine.best_images(result, neuron, 3) == best[:3]
    _, images = engine.thumbs(result, [neuron])
    assert images == best[:1]

    def value(image: int) -> float:
        index = engine.index(result)
        folder = engine._bench.shelf.open(result)
        views = folder.views()
        assert views is not None
        flat = []
        for unit in units_of(neuron):
            kept = views.models[unit.model]
            row = kept.row(index[unit.model].flat(unit))
            assert row is not None
            whole = kept.maps[row].astype(float)
            flat.append((whole[image] - whole.mean()) / whole.std())
        return float(np.mean([(flat[0] * other).mean() for other in flat[1:]]))

    values = [value(image) for image in best]
    assert values == sorted(values, reverse=True)


def test_units_outside_the_result_come_from_the_cached_maps_of_all_units(
    engine: Engine, tiny_request: MatchRequest, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_ui.engine.showing.MOST_UNITS", 3)
    monkeypatch.setattr("rosetta_ui.engine.showing.units_to_show.__defaults__", (3,))
    result = finish(engine, tiny_request).result
    folder = engine._bench.shelf.open(result)
    views = folder.views()
    assert views is not None
    assert all(len(kept.units) <= 3 for kept in views.models.values())
    unit = next(
        unit
        for unit in engine.index(result)["tiny-gan"]
        if views.models["tiny-gan"].row(engine.index(result)["tiny-gan"].flat(unit)) is None
    )
    small = engine._views.small(folder, unit)
    assert small is not None
    assert small.shape == (40, 16, 16)
    assert small.max() > 100


def test_titles_saved_marks_and_deletion(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    result = finish(engine, planted_request).result
    engine.rename(result, "Mine")
    engine.keep(result, True)
    (info,) = (i for i in engine.results() if not i.bundled)
    assert (info.title, info.saved, info.request.n_images) == ("Mine", True, 64)
    engine.delete(result)
    assert all(info.bundled for info in engine.results())
    assert finish(engine, replace(planted_request)).state == "done"
    with pytest.raises(StoreError):
        engine.index("nothing")
