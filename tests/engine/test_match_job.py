"""A match through the whole engine: right answers, one result, every end told plainly."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.engine.engine import Engine
from rosetta_ui.engine.requests import checked, result_key
from rosetta_ui.errors import BadRequestError, Cancelled, StoreError, UnknownModelError
from rosetta_ui.models.registry import Registry
from rosetta_ui.settings import Settings
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import JobStatus, MatchRequest, ResultInfo, Selection

Finish = Callable[[Engine, MatchRequest], JobStatus]


def opened(engine: Engine, result: str) -> ResultFolder:
    return engine._bench.shelf.open(result)


def own(engine: Engine) -> list[ResultInfo]:
    """Results of this cache folder, without those that come with the project."""
    return [info for info in engine.results() if not info.bundled]


def tables(engine: Engine, result: str) -> dict[str, np.ndarray]:
    folder = opened(engine, result)
    return {
        f"{name}/{score}": np.array(folder.scores(folder.anchor, name, score))
        for name in folder.backbones
        for score in ("pearson", "centred")
    }


@pytest.mark.parametrize("score", ["pearson", "centred"])
@pytest.mark.parametrize("rule", ["published", "mutual"])
def test_permuted_noisy_copies_give_back_the_permutation(
    planted: tuple[Engine, str], score: str, rule: str
) -> None:
    from rosetta_ui.models.tiny import planted_partner

    engine, result = planted
    neurons = engine.neurons(result, Selection(rule=rule, score=score, k=1))
    assert len(neurons) == 24
    for neuron in neurons:
        layer = ("coarse", "fine").index(neuron.anchor.layer)
        for name, seed in (("planted-copy-a", 4), ("planted-copy-b", 5)):
            partner = neuron.partners[name]
            assert partner.unit.layer == ("first", "second")[layer]
            assert partner.unit.channel == planted_partner(seed, layer, neuron.anchor.channel)
            assert partner.score > 0.75
            assert partner.null < 0.3
            assert partner.halves is not None
            assert min(partner.halves) > 0.75
        assert neuron.above_null
    scores = [neuron.score_min for neuron in neurons]
    assert scores == sorted(scores, reverse=True)


def test_the_summary_counts_what_was_planted(planted: tuple[Engine, str]) -> None:
    engine, result = planted
    summary = engine.summary(result, Selection())
    assert (summary.anchor_model, summary.anchor_units) == ("planted-gan", 24)
    assert [table.best_buddies for table in summary.tables] == [24, 24]
    assert [table.share for table in summary.tables] == [1.0, 1.0]
    assert (summary.rosetta, summary.rosetta_above_null) == (24, 24)
    assert summary.seconds > 0
    assert summary.peak_bytes > 0
    report = engine.report(result, Selection())
    assert report["images"] == 64
    exported = engine.export(result, Selection())
    assert exported["schema"] == 1
    first = exported["neurons"][0]
    assert set(first) == {
        "anchor",
        "partners",
        "score_min",
        "null_min",
        "above_null",
        "concept",
    }
    assert set(first["partners"]["planted-copy-a"]) == {"unit", "score", "null", "rank"}


def test_convergence_is_measured_on_the_way(planted: tuple[Engine, str]) -> None:
    engine, result = planted
    assert opened(engine, result).record.run.snapshots == {"at_n8": 8, "at_n4": 16, "at_n2": 32}
    table = engine.report(result, Selection())["tables"]["planted-copy-a"]
    assert [point["images"] for point in table["convergence"]] == [8, 16, 32, 64]


def test_any_batch_size_gives_the_same_numbers(
    engine: Engine,
    tiny_request: MatchRequest,
    finish: Finish,
    tiny_registry: Registry,
    tmp_path: Path,
) -> None:
    first = tables(engine, finish(engine, tiny_request).result)
    for size in (1, 3, 40):
        settings = Settings(cache_dir=tmp_path / f"batch{size}", device="cpu")
        with Engine(settings, tiny_registry) as other:
            status = finish(other, replace(tiny_request, batch_size=size))
            for name, table in tables(other, status.result).items():
                alive = np.isfinite(first[name])
                assert (np.isfinite(table) == alive).all()
                assert np.abs(table[alive] - first[name][alive]).max() < 1e-5


def test_scores_equal_numpys_correlation_of_upsampled_maps(
    engine: Engine, tiny_registry: Registry, finish: Finish
) -> None:
    import torch
    from torch.nn import functional

    from rosetta_ui.probing.taps import tap

    request = MatchRequest(generator="tiny-gan", backbones=("tiny-net-b",), n_images=12)
    found = tables(engine, finish(engine, request).result)["tiny-net-b/pearson"]
    load = lambda name: tiny_registry.loader(name)(tiny_registry.card(name), {})  # noqa: E731
    generator, backbone = load("tiny-gan"), load("tiny-net-b")
    with tap(generator.net, generator.layers) as rows:
        images = generator.synthesise(generator.sample(range(12), 0))
    with torch.inference_mode(), tap(backbone.net, backbone.layers) as cols:
        backbone.forward(backbone.prepare(images))
    a, b = rows["act1"][:, 3].double(), cols["relu2"][:, 4].double()  # 8×8 against 6×10
    up = [functional.interpolate(m[:, None], (8, 10), mode="bilinear") for m in (a, b)]
    expected = np.corrcoef(up[0].flatten(), up[1].flatten())[0, 1]
    assert found[8 + 3, 8 + 4] == pytest.approx(expected, abs=1e-5)


def test_a_dead_unit_is_marked_and_never_matched(
    engine: Engine, tiny_request: MatchRequest, finish: Finish
) -> None:
    result = finish(engine, tiny_request).result
    folder = opened(engine, result)
    assert folder.dead("tiny-net-a")[7]
    assert np.isneginf(folder.scores("tiny-gan", "tiny-net-a", "pearson")[:, 7]).all()
    for _, partner in engine.pairs(result, "tiny-net-a", Selection(rule="mutual")):
        assert str(partner.unit) != "tiny-net-a/relu1:7"
    assert np.isnan(folder.stats("tiny-net-a").kurtosis[7])


def test_the_same_match_again_comes_from_the_cache(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    first = finish(engine, planted_request)
    begun = time.monotonic()
    job = engine.start_match(replace(planted_request, psi=1.0, score="centred", batch_size=3))
    again = engine.job(job)
    assert (again.state, again.result) == ("done", first.result)
    assert time.monotonic() - begun < 5
    assert len(own(engine)) == 1
    assert engine.estimate(planted_request).cached
    other = engine.estimate(replace(planted_request, seed=1, n_images=128))
    assert not other.cached
    assert other.seconds == pytest.approx(
        128 / engine.summary(first.result, Selection()).images_per_second
    )


def test_other_inputs_make_another_result(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    requests = [
        planted_request,
        replace(planted_request, seed=1),
        replace(planted_request, psi=0.5),
        replace(planted_request, n_images=63),
        replace(planted_request, backbones=planted_request.backbones[::-1]),
        replace(planted_request, dtype="float64"),
    ]
    results = [finish(engine, request).result for request in requests]
    assert len(set(results)) == len(requests)
    assert len(own(engine)) == len(requests)


def test_a_damaged_result_is_made_again(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    status = finish(engine, planted_request)
    folder = opened(engine, status.result).path
    (folder / "result.json").write_text("{", "utf-8")
    again = finish(engine, planted_request)
    assert (again.state, again.result) == ("done", status.result)
    assert engine.neurons(again.result, Selection())


def test_the_published_score_and_cliques_come_on_request(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    request = replace(planted_request, score="published", batch_size=16, backbone_pairs=True)
    status = finish(engine, request)
    assert status.state == "done", status
    assert status.total == 128  # the images are looked at twice
    neurons = engine.neurons(status.result, Selection(score="published"))
    assert len(neurons) == 24
    assert len(engine.neurons(status.result, Selection(rule="clique", k=1))) == 24
    plain = finish(engine, planted_request)
    assert plain.result != status.result
    with pytest.raises(BadRequestError, match="published"):
        engine.summary(plain.result, Selection(score="published"))
    with pytest.raises(BadRequestError):
        engine.neurons(plain.result, Selection(rule="clique"))


def test_classes_are_for_conditional_generators_only(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    with pytest.raises(BadRequestError, match="has no classes"):
        engine.start_match(replace(planted_request, class_index=0))
    conditional = replace(planted_request, generator="tiny-class-gan")
    with pytest.raises(BadRequestError, match="class of 'tiny-class-gan' is 3"):
        engine.start_match(replace(conditional, class_index=3))
    one, other = (finish(engine, replace(conditional, class_index=c)) for c in (0, 1))
    assert (one.state, other.state) == ("done", "done")
    assert one.result != other.result
    assert engine.job(engine.start_match(conditional)).result == one.result  # class 0 by default


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_images": 0}, "number of images is 0"),
        ({"n_images": -5}, "number of images is -5"),
        ({"n_images": 10**9}, "whole number from 1 to 1,000,000"),
        ({"n_images": 2.5}, "number of images is 2.5"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"psi": 0.0}, "ψ is 0"),
        ({"psi": math.nan}, "ψ is nan"),
        ({"psi": 3.0}, "up to 2"),
        ({"score": "guess"}, "no score 'guess'"),
        ({"dtype": "float16"}, "no number type 'float16'"),
        ({"generator": ""}, "Choose one of the two"),
        ({"backbones": ("planted-copy-a", "planted-copy-a")}, "named twice"),
        ({"photos": "/nowhere/at/all"}, "no folder '/nowhere/at/all'"),
    ],
)
def test_values_that_cannot_be_used_are_refused_at_the_door(
    engine: Engine, planted_request: MatchRequest, change: dict[str, object], words: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        engine.start_match(replace(planted_request, **change))
    assert words in caught.value.sentence
    with pytest.raises(BadRequestError):
        engine.estimate(replace(planted_request, **change))
    assert engine.jobs() == []


def test_half_precision_is_refused_where_there_is_no_cuda_device(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    status = finish(engine, replace(planted_request, half=True))
    assert status.state == "failed"
    assert status.message == "Half precision needs a CUDA device, and this one is 'cpu'."
    assert own(engine) == []


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_a_stop_between_two_batches_keeps_what_was_counted(
    engine: Engine, planted_request: MatchRequest, batches: int
) -> None:
    from rosetta_ui.engine.flow import MatchJob
    from rosetta_ui.engine.matching_job import run_match

    request = checked(planted_request, engine._bench.registry)
    key = result_key(request, engine._bench.registry, engine._bench.weights)
    job = MatchJob(request, key, "", None, 0)
    task = run_match(engine._bench, job)
    counted = [said["done"] for said in islice((s for s in task if "done" in s), batches + 1)]
    with pytest.raises(Cancelled):
        task.throw(Cancelled())
    assert counted[-1] > 0
    said = list(run_match(engine._bench, job))
    assert said[1] == {"say": "Matching."}
    assert said[2] == {"note": f"Going on after {counted[-1]} saved images."}
    assert next(s["done"] for s in said if "done" in s) == counted[-1]


def test_unknown_models_are_refused_with_the_nearest_names(
    engine: Engine, planted_request: MatchRequest
) -> None:
    with pytest.raises(UnknownModelError, match="planted-gam"):
        engine.start_match(replace(planted_request, generator="planted-gam"))
    with pytest.raises(UnknownModelError) as caught:
        engine.start_match(replace(planted_request, backbones=("planted-copy-c",)))
    assert "planted-copy-a" in caught.value.hint
    with pytest.raises(UnknownModelError):  # a backbone is no generator
        engine.start_match(replace(planted_request, generator="planted-copy-a"))


def test_devices_that_are_not_there_are_refused(
    tmp_path: Path, tiny_registry: Registry, planted_request: MatchRequest, finish: Finish
) -> None:
    with pytest.raises(BadRequestError, match="no device 'banana'"):
        Engine(Settings(cache_dir=tmp_path, device="banana"), tiny_registry)
    with Engine(Settings(cache_dir=tmp_path, device="cuda:77"), tiny_registry) as engine:
        status = finish(engine, planted_request)
    assert status.state == "failed"
    assert "cuda:77" in status.message
    assert status.hint


def test_a_cache_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(StoreError) as caught:
        Engine(Settings(cache_dir=tmp_path / "file" / "cache"), tiny_registry)
    assert caught.value.hint


def test_one_image_has_no_null_and_says_so(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    status = finish(engine, replace(planted_request, n_images=1))
    assert status.state == "done", status
    neurons = engine.neurons(status.result, Selection())
    assert all(math.isnan(p.null) for n in neurons for p in n.partners.values())
    assert engine.summary(status.result, Selection()).null_rosetta == -1


def test_photos_match_backbones_with_each_other(
    engine: Engine, finish: Finish, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        small = rng.integers(0, 256, (5, 7, 3), np.uint8)
        Image.fromarray(small).resize((70 + i, 50)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_text("no picture", "utf-8")
    request = MatchRequest(
        generator="", backbones=("tiny-net-a", "tiny-net-b"), n_images=30, photos=str(folder)
    )
    status = finish(engine, request)
    assert status.state == "done", status
    assert status.total == 20
    assert any("broken.jpg" in sentence for sentence in status.log)
    assert any("20 usable pictures" in sentence for sentence in status.log)
    assert list(engine.index(status.result)) == ["tiny-net-a", "tiny-net-b"]
    assert engine.images(status.result) == 20
    neurons = engine.neurons(status.result, Selection())
    assert neurons[0].anchor.model == "tiny-net-a"
    units = [neurons[0].anchor, neurons[0].partners["tiny-net-b"].unit]
    row = engine.heatmaps(status.result, units, 3)
    assert row.maps[units[0]].shape in ((16, 16), (8, 8))
    assert finish(engine, request).result == status.result  # from the cache
    Image.fromarray(np.zeros((50, 70, 3), np.uint8)).save(folder / "0.png")
    assert finish(engine, request).result != status.result
    with pytest.raises(BadRequestError, match="two or more"):
        engine.start_match(replace(request, backbones=("tiny-net-a",)))
    with pytest.raises(BadRequestError, match="no classes"):
        engine.start_match(replace(request, class_index=1))


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(
    engine: Engine, planted_request: MatchRequest, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = finish(engine, replace(planted_request, seed=9)).result

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("rosetta_ui.store.files.os.fsync", full)
        status = finish(engine, planted_request)
    assert status.state == "failed"
    assert "The disk is full" in status.message
    assert "--cache-dir" in status.hint
    assert [info.result for info in own(engine)] == [earlier]
    assert finish(engine, planted_request).state == "done"


def test_a_deleted_result_takes_its_maps_along(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    result = finish(engine, planted_request).result
    kinds = [entry.kind for entry in engine._bench.store.entries()]
    assert sorted(kinds) == ["activations", "result"]
    engine.delete(result)
    assert engine._bench.store.entries() == []


def test_a_state_whose_result_is_kept_already_is_swept(engine: Engine, finish: Finish) -> None:
    """A process may die between keeping the result and removing the state that led to it."""
    request = MatchRequest("planted-gan", ("planted-copy-a",), n_images=16)
    result = finish(engine, request).result
    left = engine._bench.work_folder(result)
    left.mkdir(parents=True)
    (left / "state.safetensors").write_bytes(b"")
    assert finish(engine, request).result == result
    assert not left.exists()


def test_what_was_found_so_far_grows_while_a_match_runs(
    engine: Engine, planted_request: MatchRequest, finish: Finish
) -> None:
    status = finish(engine, planted_request)
    assert status.request is not None
    assert replace(status.request, psi=None) == replace(planted_request, psi=None)
    looks = status.found
    assert [look.images for look in looks][:3] == [8, 16, 32]
    assert [look.rosetta for look in looks] == sorted(look.rosetta for look in looks)
    assert looks[-1].rosetta == 24
    assert looks[-1].pairs == {"planted-copy-a": 24, "planted-copy-b": 24}
    best = engine.neurons(status.result, Selection())
    anchors = {neuron.anchor for neuron in best}
    for anchor, partners, score in looks[-1].best:
        assert anchor in anchors
        assert set(partners) == {"planted-copy-a", "planted-copy-b"}
        assert score > 0.5


def test_further_looks_keep_to_their_share_of_the_time(
    engine: Engine,
    planted_request: MatchRequest,
    finish: Finish,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rosetta_ui.matching.match.LOOK_SHARE", 1e9)
    many = finish(engine, replace(planted_request, batch_size=2, seed=1))
    assert [look.images for look in many.found] == [8, 16, 24, 32, 40, 48, 56]
    monkeypatch.setattr("rosetta_ui.matching.match.LOOK_SHARE", 1e-9)
    few = finish(engine, replace(planted_request, batch_size=2, seed=2))
    assert [look.images for look in few.found] == [8, 16, 32]


def test_a_stopped_match_knows_its_request_after_a_restart(
    tmp_path: Path, tiny_registry: Registry, planted_request: MatchRequest
) -> None:
    from rosetta_ui.engine.flow import MatchJob
    from rosetta_ui.engine.matching_job import run_match

    with Engine(Settings(cache_dir=tmp_path, device="cpu"), tiny_registry) as first:
        request = checked(planted_request, first._bench.registry)
        key = result_key(request, first._bench.registry, first._bench.weights)
        task = run_match(first._bench, MatchJob(request, key, "", None, 0))
        list(islice((s for s in task if "done" in s), 3))
        with pytest.raises(Cancelled):
            task.throw(Cancelled())
    with Engine(Settings(cache_dir=tmp_path, device="cpu"), tiny_registry) as second:
        (status,) = second.jobs()
        assert status.state == "stopped"
        assert status.request == request
        assert second.wait(second.start_match(status.request), 60).state == "done"
