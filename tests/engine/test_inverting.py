"""Inverting through the engine on the planted models: pages, stop, more, agreement, privacy."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.engine.engine import Engine
from rosetta_ui.engine.jobs import Cancel
from rosetta_ui.errors import (
    BadRequestError,
    EmptyMatchError,
    UnknownModelError,
    WeightsUnavailableError,
)
from rosetta_ui.inversions import (
    Crop,
    Framed,
    Guidance,
    InversionFrame,
    InversionProgress,
    InversionRequest,
    InversionSettings,
)
from rosetta_ui.types import Unit

QUICK = InversionSettings("z", 12, 0.1, restarts=2)
PIXELS = Guidance(0, pixels=1.0)


@pytest.fixture(scope="module")
def ready(planted: tuple[Engine, str]) -> Iterator[Engine]:
    """An engine whose planted match is done."""
    yield planted[0]


def own_picture(engine: Engine, seed: int = 3) -> np.ndarray:
    return engine.editing.start_picture("planted-gan", seed)[1]


def request(engine: Engine, **changes: object) -> InversionRequest:
    values = {"guidance": PIXELS, "settings": QUICK, **changes}
    return InversionRequest("planted-gan", own_picture(engine), **values)  # pyright: ignore


def ended(engine: Engine, page: str, seconds: float = 60) -> InversionProgress:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = engine.inverting.progress(page)
        if now.state in ("done", "failed", "stopped"):
            return now
        time.sleep(0.01)
    raise AssertionError("the inversion did not end")


def running(engine: Engine, page: str, steps: int = 3) -> None:
    end = time.monotonic() + 60
    while engine.inverting.progress(page).step < steps and time.monotonic() < end:
        time.sleep(0.005)


def test_a_page_gets_frames_points_and_a_result(ready: Engine) -> None:
    page = ready.inverting.open()
    ticket = ready.inverting.ask(page, request(ready, guidance=Guidance(1.0, 1.0, 0.1)))
    done = ended(ready, page)
    assert (done.state, done.ticket, done.step) == ("done", ticket, 12)
    assert done.history_end == len(done.history) == 12
    assert set(done.history[0].terms) == {"neurons", "pixels", "perceptual"}
    assert done.history[-1].best < done.history[0].best
    assert ready.inverting.progress(page, 10).history == done.history[10:]
    (result,) = ready.inverting.results(page)
    assert result.which == done.which == 1
    assert result.picture.shape == (32, 32, 3)
    assert result.numbers is not None
    assert result.numbers.perceptual_name.endswith("feature distance")
    assert ready.inverting.latents(page, 1) is result.latents


def test_a_result_has_lpips_only_where_that_is_installed(
    ready: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rosetta_ui.engine import inverting_work

    *_, bare = ready.inverting.invert(request(ready))
    assert bare.result is not None
    assert bare.result.numbers is not None
    assert np.isnan(bare.result.numbers.lpips)
    seen: list[tuple[int, ...]] = []

    def lpips(first: object, second: object) -> float:
        seen.extend(tuple(each.shape) for each in (first, second))  # pyright: ignore
        return 0.25

    monkeypatch.setattr(inverting_work, "installed_lpips", lambda: lpips)
    *_, told = ready.inverting.invert(request(ready))
    assert told.result is not None
    assert told.result.numbers is not None
    assert told.result.numbers.lpips == 0.25
    assert seen == [(1, 3, 64, 64)] * 2
    assert ready.inverting.recipe_of(told.result)["inversion"]["numbers"]["lpips"] == 0.25


def test_the_result_opens_in_edit_and_its_recipe_does_too(ready: Engine) -> None:
    page = ready.inverting.open()
    ready.inverting.ask(page, request(ready))
    ended(ready, page)
    (result,) = ready.inverting.results(page)
    view = ready.editing.open_latents("planted-gan", ready.inverting.latents(page, result.which))
    assert np.array_equal(view.entries[0].picture, result.picture)
    recipe = json.loads(json.dumps(ready.inverting.recipe(page, result.which)))
    assert recipe["inversion"]["settings"]["steps"] == 12
    loaded = ready.editing.load(view.page, recipe)
    assert np.array_equal(loaded.entries[0].picture, result.picture)


def test_stop_is_quick_and_keeps_the_best(ready: Engine) -> None:
    page = ready.inverting.open()
    slow = InversionSettings("z", 5000, 0.01, restarts=1)
    ready.inverting.ask(page, request(ready, settings=slow))
    running(ready, page)
    begun = time.monotonic()
    ready.inverting.stop(page)
    now = ended(ready, page)
    assert now.state == "stopped"
    assert time.monotonic() - begun < 30
    (result,) = ready.inverting.results(page)
    assert result.stopped
    assert 1 <= result.steps < 5000


def test_more_goes_on_in_the_same_result(ready: Engine) -> None:
    page = ready.inverting.open()
    ready.inverting.ask(page, request(ready))
    ended(ready, page)
    (first,) = ready.inverting.results(page)
    ready.inverting.more(page, 8)
    assert ended(ready, page).history_end == 20
    (more,) = ready.inverting.results(page)
    assert (more.which, more.steps) == (first.which, 20)
    assert more.history[-1].best <= first.history[-1].best


def test_several_results_stay_beside_each_other_and_can_be_dropped(ready: Engine) -> None:
    page = ready.inverting.open()
    for weight in (0.5, 1.0, 2.0):
        ready.inverting.ask(page, request(ready, guidance=Guidance(0, pixels=weight)))
        ended(ready, page)
    assert [r.which for r in ready.inverting.results(page)] == [1, 2, 3]
    ready.inverting.forget(page, 2)
    assert [r.which for r in ready.inverting.results(page)] == [1, 3]
    with pytest.raises(BadRequestError, match="no result 2"):
        ready.inverting.latents(page, 2)


def test_two_pages_do_not_mix_and_a_closed_one_is_forgotten(ready: Engine) -> None:
    one, two = ready.inverting.open(), ready.inverting.open()
    assert one != two
    ready.inverting.ask(one, request(ready))
    ended(ready, one)
    assert ready.inverting.results(two) == ()
    ready.inverting.close(one)
    with pytest.raises(BadRequestError, match="no longer open"):
        ready.inverting.results(one)
    assert ready.inverting.open(two) == two
    assert ready.inverting.open(one) != one


def test_closing_a_page_ends_its_inversion_and_frees_the_engine(ready: Engine) -> None:
    page = ready.inverting.open()
    slow = InversionSettings("z", 5000, 0.01, restarts=1)
    ready.inverting.ask(page, request(ready, settings=slow))
    running(ready, page)
    ready.inverting.close(page)
    assert own_picture(ready).shape == (32, 32, 3)  # waits for the device


def test_edits_go_on_while_an_inversion_runs(ready: Engine) -> None:
    page = ready.inverting.open()
    slow = InversionSettings("z", 5000, 0.01, restarts=1)
    ready.inverting.ask(page, request(ready, settings=slow))
    running(ready, page)
    own_picture(ready)
    now = ready.inverting.progress(page)
    assert now.state == "running"
    ready.inverting.stop(page)
    ended(ready, page)


def test_guiding_neurons_show_both_pictures_in_every_model(ready: Engine) -> None:
    page = ready.inverting.open()
    settings = InversionSettings("z", 120, 0.1, restarts=2)
    ready.inverting.ask(page, request(ready, guidance=Guidance(1.0), settings=settings))
    assert ended(ready, page).state == "done"
    shown = ready.inverting.heatmaps(page, 1, 5)
    assert len(shown) == 5
    for neuron in shown:
        assert neuron.unit.model == "planted-gan"
        assert set(neuron.partners) == {"planted-copy-a", "planted-copy-b"}
        for name, found in neuron.partners.items():
            assert found.unit.model == name
            assert found.target.shape == found.inversion.shape
            assert found.target.dtype == np.uint8
    agreement = [m.agreement for n in shown for m in n.partners.values()]
    repeated = [m.repeated for n in shown for m in n.partners.values()]
    assert np.mean(agreement) > 0.8
    assert np.mean(repeated) > 0.8


def test_neurons_of_chosen_backbones_only_guide(ready: Engine) -> None:
    only = Guidance(1.0, backbones=("planted-copy-b",))
    page = ready.inverting.open()
    ready.inverting.ask(page, request(ready, guidance=only))
    ended(ready, page)
    shown = ready.inverting.heatmaps(page, 1, 50)
    assert {name for n in shown for name in n.partners} == {"planted-copy-b"}
    with pytest.raises(UnknownModelError):
        ready.inverting.ask(page, request(ready, guidance=replace(only, backbones=("nobody",))))


def test_a_generator_without_a_result_says_so_unless_no_neuron_guides(ready: Engine) -> None:
    asked = InversionRequest("tiny-gan", own_picture(ready), Guidance(1.0), QUICK)
    with pytest.raises(EmptyMatchError, match=r"No result.*tiny-gan"):
        list(ready.inverting.invert(asked))
    frames = list(ready.inverting.invert(replace(asked, guidance=PIXELS)))
    assert frames[-1].result is not None


def test_a_result_of_another_generator_is_refused(
    ready: Engine, planted: tuple[Engine, str]
) -> None:
    guidance = Guidance(1.0, result=planted[1])
    asked = InversionRequest("tiny-gan", own_picture(ready), guidance, QUICK)
    with pytest.raises(BadRequestError, match="no matched neurons of 'tiny-gan'"):
        list(ready.inverting.invert(asked))


def test_spaces_classes_and_psi_that_there_are_not_are_refused(ready: Engine) -> None:
    good = request(ready)
    for bad, said in (
        (replace(good, settings=replace(QUICK, space="w+")), "no w\\+ space"),
        (replace(good, class_index=1), "no classes"),
        (replace(good, psi=0.0), "ψ is 0"),
        (replace(good, generator="tiny-class-gan", class_index=9), "no class 9"),
    ):
        with pytest.raises(BadRequestError, match=said):
            list(ready.inverting.invert(bad))
    with pytest.raises(UnknownModelError):
        list(ready.inverting.invert(replace(good, generator="nobody")))


def test_one_target_is_inverted_into_several_classes(ready: Engine) -> None:
    asked = replace(request(ready), generator="tiny-class-gan")
    found = list(ready.inverting.class_grid(asked, [2, 0]))
    assert [each.request.class_index for each in found] == [2, 0]
    assert [each.latents.class_index for each in found] == [2, 0]
    assert found[0].label.endswith("class 2")
    page = ready.inverting.open()
    ready.inverting.ask(page, asked, [0, 1, 2])
    done = ended(ready, page)
    assert (done.state, done.step, done.steps) == ("done", 36, 36)
    assert len(ready.inverting.results(page)) == 3
    with pytest.raises(BadRequestError, match="0 classes"):
        list(ready.inverting.class_grid(asked, []))


def test_frames_without_a_page_end_with_the_result_and_can_be_stopped(ready: Engine) -> None:
    cancel = Cancel()
    slow = request(ready, settings=InversionSettings("z", 5000, 0.01, restarts=1))
    last: InversionFrame | None = None
    for last in ready.inverting.invert(slow, cancel):
        if last.step == 5:
            cancel.set()
    assert last is not None
    assert last.result is not None
    assert last.result.stopped


def test_presets_fit_the_generator(ready: Engine) -> None:
    presets = ready.inverting.presets("planted-gan")
    assert [p.name for p in presets] == ["photo", "sketch", "other-class", "published"]
    assert {p.settings.space for p in presets} == {"z"}
    assert all(p.about.endswith(".") for p in presets)
    sketch = presets[1].guidance
    assert (sketch.pixels, sketch.perceptual) == (0, 0)


def test_dictionaries_of_a_generator_are_listed(ready: Engine, planted: tuple[Engine, str]) -> None:
    assert [info.result for info in ready.inverting.dictionaries("planted-gan")] == [planted[1]]
    assert ready.inverting.dictionaries("tiny-gan") == []


def test_realism_is_told_later_or_why_not(ready: Engine) -> None:
    page = ready.inverting.open()
    ready.inverting.ask(page, request(ready))
    ended(ready, page)
    end = time.monotonic() + 60
    while time.monotonic() < end and "not ready" not in ready.inverting.results(page)[0].note:
        time.sleep(0.02)
    (result,) = ready.inverting.results(page)
    assert "judge" in result.note, "the planted models have no judge of edits"
    assert result.numbers is not None
    assert np.isnan(result.numbers.realism_percentile)


def test_nothing_of_an_upload_reaches_the_cache_the_log_or_the_recipe(
    ready: Engine, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    picture = np.random.default_rng(77).integers(0, 256, (48, 48, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    read = ready.inverting.read_picture(out.getvalue())
    page = ready.inverting.open()
    mixed = Guidance(1.0, 1.0, 0.1)
    asked = InversionRequest("planted-gan", read.picture, mixed, QUICK)
    ready.inverting.ask(page, asked)
    done = ended(ready, page)
    assert done.state == "done", done.message
    ready.inverting.heatmaps(page, 1)
    recipe = json.dumps(ready.inverting.recipe(page, 1))
    needles = [picture[10].tobytes()[:48], out.getvalue()[40:90]]
    small = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BILINEAR))
    needles.append(small[7].tobytes()[:48])
    cache = ready_cache(ready)
    for path in cache.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path
    known = {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}
    again = np.random.default_rng(78).integers(0, 256, (48, 48, 3), np.uint8)
    ready.inverting.ask(page, replace(asked, picture=again))
    ended(ready, page)
    after = {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}
    index = {name for name in after - known if not name.startswith("index/")}
    assert not index, "another picture leaves no file"
    said = caplog.text + "".join(capfd.readouterr())
    assert page not in said
    assert "array(" not in said
    assert "picture" not in json.loads(recipe)["inversion"]
    assert "picture" not in repr(asked).replace("read_picture", "")


def ready_cache(engine: Engine) -> Path:
    return engine._bench.settings.cache_dir  # pyright: ignore[reportPrivateUsage]


def test_what_a_generator_needs_can_be_made_beforehand(ready: Engine) -> None:
    page = ready.inverting.open()
    ready.inverting.prepare(page, "tiny-gan")
    with pytest.raises(UnknownModelError):
        ready.inverting.prepare(page, "nobody")


def test_a_picture_is_looked_through_once_all_is_made(ready: Engine) -> None:
    page = ready.inverting.open()
    assert ready.inverting.framed(page) == Framed(True)
    noise = np.random.default_rng(4).integers(0, 256, (90, 60, 3), np.uint8)
    for name in ("tiny-gan", "planted-gan"):
        ready.inverting.prepare(page, name, picture=noise)
    own = own_picture(ready)
    ready.inverting.prepare(page, "planted-gan", picture=own)
    end = time.monotonic() + 60
    while not ready.inverting.framed(page).ready and time.monotonic() < end:
        time.sleep(0.01)
    found = ready.inverting.framed(page)
    assert found.ready
    ready.inverting.prepare(page, "planted-gan")
    assert ready.inverting.framed(page).ready, "no picture: nothing to look for"
    ready.inverting.prepare(page, "tiny-class-gan", picture=noise)
    assert ready.inverting.framed(page) == Framed(True), "its classes have no one framing"


def test_without_a_page_a_picture_is_framed_as_well(ready: Engine) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (90, 60, 3), np.uint8)
    found = ready.inverting.frame("planted-gan", noise)
    assert found.cut(noise).shape[0] == found.cut(noise).shape[1]
    assert ready.inverting.frame("tiny-class-gan", noise) == Crop()


def test_a_generator_without_weights_says_what_to_type(tmp_path: Path, ready: Engine) -> None:
    from rosetta_ui.settings import Settings

    with Engine(Settings(cache_dir=tmp_path, device="cpu")) as bare:
        asked = InversionRequest("dcgan-digiface", own_picture(ready), PIXELS, QUICK)
        with pytest.raises(WeightsUnavailableError) as caught:
            list(bare.inverting.invert(asked))
        assert "zoo fetch dcgan-digiface" in caught.value.sentence


def test_units_name_their_models(ready: Engine) -> None:
    page = ready.inverting.open()
    ready.inverting.ask(page, request(ready))
    ended(ready, page)
    (first, *_) = ready.inverting.heatmaps(page, 1, 1)
    assert isinstance(first.unit, Unit)
    assert first.own.ndim == 2
