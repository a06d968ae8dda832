"""Images that express a neuron, as jobs of the engine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, UnknownModelError
from rosetta_ui.models.registry import Registry
from rosetta_ui.settings import Settings
from rosetta_ui.types import MatchRequest, Selection


def test_images_are_made_in_which_the_neuron_and_its_partners_are_more_active(
    planted: tuple[Engine, str],
) -> None:
    engine, result = planted
    neuron = engine.neurons(result, Selection())[0]
    job = engine.start_expression(result, neuron)
    status = engine.wait(job, 60)
    assert (status.state, status.kind, status.done) == ("done", "express", status.total)
    made = engine.expression(job)
    assert (made.neuron, made.step, made.steps) == (neuron.anchor, status.total, status.total)
    units = {neuron.anchor, *(p.unit for p in neuron.partners.values())}
    assert len(made.images) == 4
    for image in made.images:
        assert set(image.maps) == units
        assert image.before.shape == image.after.shape == (32, 32, 3)
        natural = engine.preview(result, image.start)
        assert np.abs(image.before.astype(int) - natural).max() <= 3  # the previews are lossy
        for unit in units:  # the partners copy the anchor: what raises it raises them
            assert image.activity_after[unit] > image.activity_before[unit]
    again = engine.start_expression(result, neuron)
    assert again == job
    assert engine.expression(job) is made


def test_it_starts_from_the_images_in_which_the_neuron_is_most_active(
    planted: tuple[Engine, str],
) -> None:
    engine, result = planted
    neuron = engine.neurons(result, Selection())[1]
    job = engine.start_expression(result, neuron)
    engine.wait(job, 60)
    small = engine._views.small(engine._bench.shelf.open(result), neuron.anchor)
    assert small is not None
    best = (-small.mean((1, 2))).argsort(kind="stable")[:4]
    assert [image.start for image in engine.expression(job).images] == best.tolist()


def test_stop_keeps_the_best_images_so_far(
    planted: tuple[Engine, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_ui.engine.expressing.STEPS", 100_000)
    engine, result = planted
    neuron = engine.neurons(result, Selection())[2]
    job = engine.start_expression(result, neuron)
    end = time.monotonic() + 60
    while engine.job(job).done < 3 and time.monotonic() < end:
        time.sleep(0.02)
    engine.stop(job)
    assert engine.wait(job, 30).state == "stopped"
    assert len(engine.expression(job).images) == 4


def test_where_nothing_can_be_drawn_the_reason_is_said(
    planted: tuple[Engine, str], tmp_path: Path
) -> None:
    engine, result = planted
    neuron = engine.neurons(result, Selection())[0]
    with Engine(Settings(cache_dir=tmp_path / "cache"), Registry()) as elsewhere:
        path = str(engine._bench.shelf.path(result))
        with pytest.raises(UnknownModelError):
            elsewhere.start_expression(path, neuron)
    with pytest.raises(BadRequestError, match="no longer here"):
        engine.expression("express-nothing")


def test_a_result_of_photos_has_no_generator_to_draw_with(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for at in range(9):
        picture = rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{at}.png")
    request = MatchRequest("", ("tiny-net-a", "tiny-net-b"), 9, photos=str(folder))
    result = engine.wait(engine.start_match(request), 60).result
    selection = Selection(rule="mutual", k=5)
    neuron = engine.neurons(result, selection)[0]
    with pytest.raises(BadRequestError, match="no generator"):
        engine.start_expression(result, neuron)


def test_of_a_fine_layer_two_images_are_made(
    planted: tuple[Engine, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_ui.engine.expressing.FINE", 1)
    engine, result = planted
    neuron = engine.neurons(result, Selection())[3]
    job = engine.start_expression(result, neuron)
    assert engine.wait(job, 60).state == "done"
    assert len(engine.expression(job).images) == 2


@pytest.mark.weights
@pytest.mark.slow
def test_a_real_neuron_of_a_layer_above_64_px_rises_with_its_partners(
    cache_with_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_ui.engine.expressing.FINE_STEPS", 3)
    with Engine(Settings(cache_dir=cache_with_zoo, fetch=False)) as engine:
        result = "mobilestylegan"  # the dictionary that comes with the project
        neurons = engine.neurons(result, Selection("mutual", 5, "centred"))
        layers = engine.index(result)[result]
        fine = [n for n in neurons if max(layers.layer(n.anchor.layer).size) > 64]
        job = engine.start_expression(result, fine[0])
        assert engine.wait(job, 900).state == "done"
        made = engine.expression(job)
        assert len(made.images) == 2
        for image in made.images:
            assert image.maps[fine[0].anchor].shape == (64, 64)  # reduced for the page
            anchor = fine[0].anchor
            assert image.activity_after[anchor] > image.activity_before[anchor]
            assert len(image.maps) == 5
