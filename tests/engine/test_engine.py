"""The façade: nothing heavy at start, jobs that stop, resume and are found again, fair sharing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rosetta_ui.engine import dispatch as door
from rosetta_ui.engine.engine import Engine
from rosetta_ui.engine.residency import Residency
from rosetta_ui.errors import BadRequestError, UnknownModelError, WeightsUnavailableError
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.settings import Settings
from rosetta_ui.types import JobStatus, MatchRequest, ModelCard, Selection, WeightSource

Finish = Callable[[Engine, MatchRequest], JobStatus]
PROJECT = Path(__file__).resolve().parent.parent.parent


def slow_registry(registry: Registry, seconds: float) -> Registry:
    """The tiny models, one of which takes its time in every forward pass."""
    slow = Registry()
    for card in registry.cards():
        loader = registry.loader(card.name)

        def load(card: ModelCard, tensors: Any, loader: Any = loader) -> Any:
            model = loader(card, tensors)
            if card.name == "planted-copy-b":
                model.net.register_forward_pre_hook(lambda *_: time.sleep(seconds))
            return model

        slow.add(card, load)
    return slow


@pytest.fixture
def slow_engine(tmp_path: Path, tiny_registry: Registry) -> Iterator[Engine]:
    registry = slow_registry(tiny_registry, 0.1)
    with Engine(Settings(cache_dir=tmp_path / "cache", device="cpu"), registry) as made:
        yield made


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_the_engine_starts_and_answers_without_torch(
    planted: tuple[Engine, str], tmp_path: Path
) -> None:
    engine, result = planted
    code = (
        "import json, sys\n"
        "from rosetta_ui.engine.engine import Engine\n"
        "from rosetta_ui.settings import Settings\n"
        "from rosetta_ui.types import MatchRequest, Selection\n"
        "engine = Engine(Settings.read({'cache_dir': sys.argv[1]}))\n"
        "states = [engine.readiness().stage, len(engine.models()), engine.default_request().seed]\n"
        "found = engine.neurons(sys.argv[2], Selection())\n"
        "engine.thumbs(sys.argv[2], found)\n"
        "engine.heatmaps(sys.argv[2], [found[0].anchor], 0)\n"
        "engine.report(sys.argv[2], Selection())\n"
        "engine.estimate(MatchRequest())\n"
        "loaded = {'torch', 'timm', 'gradio'} & set(sys.modules)\n"
        "print(json.dumps([states, len(found), sorted(loaded)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(engine._bench.shelf.path(result))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    states, found, loaded = json.loads(done.stdout)
    assert states[0] == "starting"
    assert found == 24
    assert loaded == []


def test_stop_keeps_what_was_counted_and_the_same_match_goes_on(
    slow_engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    job = slow_engine.start_match(planted_request, save_every=8)
    wait_for(lambda: slow_engine.job(job).done >= 16)
    begun = time.monotonic()
    slow_engine.stop(job)
    status = slow_engine.wait(job, 10)
    assert time.monotonic() - begun < 2
    assert status.state == "stopped"
    assert 16 <= status.done < 64
    again = finish(slow_engine, planted_request)
    assert again.state == "done"
    assert again.job == job, "the same request keeps its id"
    assert any("Going on after" in sentence for sentence in again.log)
    assert len(slow_engine.neurons(again.result, Selection())) == 24


def test_a_stopped_run_is_found_again_by_the_next_start(
    slow_engine: Engine, planted_request: MatchRequest, tiny_registry: Registry, finish: Finish
) -> None:
    job = slow_engine.start_match(planted_request, save_every=8)
    wait_for(lambda: slow_engine.job(job).done >= 16)
    settings = slow_engine._bench.settings
    slow_engine.close()
    with Engine(settings, tiny_registry) as later:
        (status,) = later.jobs()
        assert (status.job, status.state) == (job, "stopped")
        assert status.total == 64
        assert status.done >= 8
        assert later.job(job) == status
        later.stop(job)  # nothing runs: nothing happens
        done = finish(later, planted_request)
        assert (done.state, done.job) == ("done", job)
        assert [status.state for status in later.jobs()] == ["done"]


def test_a_run_that_is_forgotten_starts_from_the_first_image(
    slow_engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    job = slow_engine.start_match(planted_request, save_every=8)
    wait_for(lambda: slow_engine.job(job).done >= 16)
    slow_engine.stop(job)
    wait_for(lambda: (slow_engine._bench.settings.cache_dir / "work").exists())
    wait_for(lambda: not slow_engine._board._lanes["match"])
    slow_engine.forget(planted_request)
    status = finish(slow_engine, planted_request)
    assert status.state == "done"
    assert not any("Going on after" in sentence for sentence in status.log)


def test_joining_a_running_match_starts_no_second_one(
    slow_engine: Engine, planted_request: MatchRequest
) -> None:
    job = slow_engine.start_match(planted_request)
    assert slow_engine.start_match(planted_request) == job
    other = slow_engine.start_match(replace(planted_request, seed=5))
    assert slow_engine.job(other).place == 1
    assert [status.job for status in slow_engine.jobs()] == [other, job]
    slow_engine.stop(other)
    slow_engine.stop(job)
    assert slow_engine.wait(other, 10).state == "stopped"
    assert slow_engine.wait(job, 10).state == "stopped"


def test_a_click_is_answered_between_the_layers_of_a_running_match(
    tmp_path: Path, tiny_registry: Registry, planted_request: MatchRequest, finish: Finish
) -> None:
    registry = slow_registry(tiny_registry, 0.3)
    with Engine(Settings(cache_dir=tmp_path, device="cpu"), registry) as engine:
        first = finish(engine, replace(planted_request, n_images=8)).result
        anchor = engine.neurons(first, Selection())[0].anchor
        job = engine.start_match(replace(planted_request, n_images=640, batch_size=8))
        wait_for(lambda: engine.job(job).done >= 8)
        begun = time.monotonic()
        row = engine.heatmaps(first, [anchor], 3)
        assert time.monotonic() - begun < 2, "not after 78 further batches"
        assert row.maps[anchor].shape in ((4, 4), (8, 8))
        assert engine.job(job).state == "running"
        engine.stop(job)
        assert engine.wait(job, 10).state == "stopped"


def test_unknown_jobs_are_said_to_be_unknown(engine: Engine) -> None:
    with pytest.raises(BadRequestError, match="no job 'match-123'"):
        engine.job("match-123")
    with pytest.raises(BadRequestError):
        engine.stop("match-123")


def test_models_that_a_person_must_bring_are_told_at_the_door(tmp_path: Path) -> None:
    registry = build_registry()
    missing = [c for c in registry.cards("generator") if c.source and c.source.kind == "file"]
    with Engine(Settings(cache_dir=tmp_path), registry) as engine:
        with pytest.raises(WeightsUnavailableError) as caught:
            engine.start_match(MatchRequest(generator=missing[0].name, backbones=("dinov2-s",)))
        assert missing[0].name in caught.value.sentence
        assert "zoo add" in caught.value.hint
        embedded = [status.card.embedded for status in engine.models()]
        assert embedded == sorted(embedded, reverse=True)


def test_fetching_is_a_job_that_fails_plainly_without_a_network(
    tmp_path: Path,
) -> None:
    def refuse(source: WeightSource, *_: object) -> Path:
        raise WeightsUnavailableError("the index cannot be reached.", "Check the network.")

    registry = build_registry()
    with Engine(Settings(cache_dir=tmp_path), registry) as engine:
        engine._bench.weights = WeightStore(tmp_path, refuse)
        job = engine.start_fetch(["dcgan-digiface"])
        status = engine.wait(job, 30)
        assert status.state == "failed"
        assert "cannot be reached" in status.message
        assert "dcgan-digiface" in status.hint
        with pytest.raises(UnknownModelError):
            engine.start_fetch(["nothing"])
        engine.warm()
        wait_for(lambda: engine.readiness().stage in ("ready", "failed"))
        assert engine.readiness().stage == "failed"
        assert "could not be made ready" in engine.readiness().text


def test_warming_up_loads_torch_and_then_is_ready(
    tmp_path: Path, tiny_registry: Registry, planted_request: MatchRequest
) -> None:
    with Engine(Settings(cache_dir=tmp_path, device="cpu"), tiny_registry) as engine:
        assert engine.readiness().stage == "starting"
        assert engine.default_request().backbones == planted_request.backbones
        engine.warm()
        engine.warm()
        wait_for(lambda: engine.readiness().stage == "ready")
        assert engine.readiness().fraction == 1
        assert "cpu" in engine.readiness().text


def test_models_are_dropped_when_they_take_too_much(
    tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Residency(tiny_registry, WeightStore(tmp_path), "cpu")
    first = models.backbone("tiny-net-a")
    assert models.backbone("tiny-net-a") is first
    models.generator("tiny-gan")
    monkeypatch.setattr("rosetta_ui.engine.residency.CPU_BYTES", 1)
    models.backbone("tiny-net-b")
    assert models.names() == ["tiny-net-b"]
    assert models.backbone("tiny-net-a") is not first
    with pytest.raises(UnknownModelError):
        models.generator("tiny-net-a")


def test_on_a_space_all_device_work_goes_through_one_lent_function(
    tmp_path: Path, planted: tuple[Engine, str]
) -> None:
    (tmp_path / "spaces.py").write_text(
        "lent = []\n"
        "def GPU(duration):\n"
        "    def lend(function):\n"
        "        def run(*arguments):\n"
        "            lent.append((arguments[0], duration(*arguments)))\n"
        "            yield from function(*arguments)\n"
        "        return run\n"
        "    return lend\n",
        "utf-8",
    )
    code = (
        "import json, sys, spaces\n"
        "from rosetta_ui.engine.engine import Engine\n"
        "from rosetta_ui.models.registry import Registry\n"
        "from rosetta_ui.models.tiny import tiny_cards\n"
        "from rosetta_ui.settings import Settings\n"
        "from rosetta_ui.types import MatchRequest, Selection\n"
        "registry = Registry()\n"
        "for card, loader in tiny_cards(): registry.add(card, loader)\n"
        "engine = Engine(Settings.read({'cache_dir': sys.argv[1]}), registry)\n"
        "request = MatchRequest('planted-gan', ('planted-copy-a',), n_images=8)\n"
        "status = engine.wait(engine.start_match(request))\n"
        "neuron = engine.neurons(status.result, Selection())[0]\n"
        "engine.heatmaps(status.result, [neuron.anchor], 0)\n"
        "print(json.dumps([status.state, spaces.lent]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cache")],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    state, lent = json.loads(done.stdout)
    assert state == "done"
    assert lent == [["match", door.SECONDS["match"]], ["maps", door.SECONDS["maps"]]]


def test_a_lent_device_that_runs_out_of_time_is_asked_again(
    engine: Engine, planted_request: MatchRequest
) -> None:
    from rosetta_ui.engine.flow import MatchJob
    from rosetta_ui.engine.matching_job import run_match
    from rosetta_ui.engine.requests import checked, result_key

    bench = engine._bench
    request = checked(planted_request, bench.registry)
    key = result_key(request, bench.registry, bench.weights)
    job = MatchJob(request, key, seconds=1e-9)
    calls = 0
    while True:
        calls += 1
        with bench.lock.hold():
            *_, last = run_match(bench, job)
        if "result" in last:
            break
        assert last == {"again": True}
        assert calls < 50
    assert calls > 2
    assert len(engine.neurons(key, Selection())) == 24


def test_closing_ends_every_thread(slow_engine: Engine, planted_request: MatchRequest) -> None:
    job = slow_engine.start_match(planted_request)
    wait_for(lambda: slow_engine.job(job).state == "running")
    slow_engine.close()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("rosetta-")])
