"""The match loop: stopped, resumed, out of memory, broken models. The numbers stay the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rosetta_ui.errors import Cancelled, DeviceMemoryError
from rosetta_ui.matching import match as loop
from rosetta_ui.matching.activations import Activations
from rosetta_ui.matching.checkpoint import Checkpoint
from rosetta_ui.matching.counts import Counts
from rosetta_ui.matching.match import MatchRun
from rosetta_ui.matching.outcome import MatchOutcome, MatchPlan, MatchTools
from rosetta_ui.matching.sources import GeneratedImages
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import tiny_cards

NETS = ("tiny-net-a", "tiny-tokens")
PLAN = MatchPlan(
    pairs=(("tiny-gan", "tiny-net-a"), ("tiny-gan", "tiny-tokens")),
    n_images=40,
    batch_size=5,
    seed=0,
    n_views=12,
)


@pytest.fixture(scope="module")
def load() -> Callable[[str], Any]:
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    return lambda name: registry.loader(name)(registry.card(name), {})


def new_run(load: Callable[[str], Any], plan: MatchPlan = PLAN, **tools: Any) -> MatchRun:
    return MatchRun(
        GeneratedImages(load("tiny-gan"), 0), [load(n) for n in NETS], plan, MatchTools(**tools)
    )


def ended(run: MatchRun) -> MatchOutcome:
    for _ in run.steps():
        pass
    outcome = run.finish()
    assert outcome is not None
    return outcome


def numbers(outcome: MatchOutcome) -> list[torch.Tensor]:
    found = [
        tables.scores(score, which)
        for tables in outcome.tables.values()
        for score in ("pearson", "centred")
        for which in ("real", "null", "half0", "half1")
    ]
    found += [torch.from_numpy(stat) for m in outcome.moments.values() for stat in m.finish()]
    return found + [torch.from_numpy(picture) for picture in outcome.pictures]


def same(one: MatchOutcome, other: MatchOutcome) -> bool:
    pairs = zip(numbers(one), numbers(other), strict=True)
    return all(torch.equal(a.nan_to_num(9), b.nan_to_num(9)) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(load: Callable[[str], Any]) -> MatchOutcome:
    return ended(new_run(load))


class StopAfter:
    """Raises `Cancelled` at one of the checks."""

    def __init__(self, checks: int) -> None:
        self.left = checks

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cancelled


def test_steps_count_up_to_the_last_image(load: Callable[[str], Any]) -> None:
    steps = list(new_run(load).steps())
    # Batches of 5, cut where a block of 8 ends after N/4 and N/2, which are looked at on the way.
    assert [step.done for step in steps[:7]] == [0, 5, 10, 15, 16, 21, 24]
    assert (steps[-1].done, steps[-1].total) == (40, 40)


@pytest.mark.parametrize("checks", [1, 2, 3, 6, 7, 20, 33, 47])
def test_a_stopped_run_goes_on_to_the_same_numbers(
    load: Callable[[str], Any], whole: MatchOutcome, tmp_path: Path, checks: int
) -> None:
    kept = {
        "checkpoint": Checkpoint(tmp_path / "state.safetensors"),
        "activations": tmp_path / "activations",
    }
    told: list[str] = []
    stopped = new_run(load, check=StopAfter(checks), stopping=lambda: told.append("stop"), **kept)
    with pytest.raises(Cancelled):
        ended(stopped)
    assert told == ["stop"]
    notes: list[str] = []
    again = ended(new_run(load, note=notes.append, **kept))
    assert same(again, whole)
    if stopped.saved:
        assert notes == [f"Going on after {stopped.saved} saved images."]
    layers = {name: again.layers[name] for name in again.layers}
    small = Activations(tmp_path / "activations", layers, 12)
    assert small.maps("tiny-gan", [0], range(12)).any((1, 2, 3)).all()


def test_a_damaged_state_means_starting_again(
    load: Callable[[str], Any], whole: MatchOutcome, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    with pytest.raises(Cancelled):
        ended(new_run(load, check=StopAfter(30), checkpoint=checkpoint))
    data = bytearray(checkpoint.path.read_bytes())
    data[len(data) // 2] ^= 1
    checkpoint.path.write_bytes(data)
    run = new_run(load, checkpoint=checkpoint)
    assert next(run.steps()).done == 0
    assert same(ended(new_run(load, checkpoint=checkpoint)), whole)


def test_the_state_of_another_match_is_not_used(
    load: Callable[[str], Any], whole: MatchOutcome, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    with pytest.raises(Cancelled):
        plan = replace(PLAN, seed=1)
        ended(new_run(load, plan, check=StopAfter(30), checkpoint=checkpoint))
    notes: list[str] = []
    assert same(ended(new_run(load, checkpoint=checkpoint, note=notes.append)), whole)
    assert "not used" in notes[0]


def test_lost_small_maps_are_made_again(
    load: Callable[[str], Any], whole: MatchOutcome, tmp_path: Path
) -> None:
    kept = {
        "checkpoint": Checkpoint(tmp_path / "state.safetensors"),
        "activations": tmp_path / "activations",
    }
    with pytest.raises(Cancelled):
        ended(new_run(load, check=StopAfter(40), **kept))
    for path in (tmp_path / "activations").glob("maps-tiny-gan-*.npy"):
        path.unlink()
    again = ended(new_run(load, **kept))
    assert len(again.pictures) == 12
    small = Activations(tmp_path / "activations", again.layers, 12)
    assert small.maps("tiny-gan", [0], range(12)).any((1, 2, 3)).all()
    assert same(again, whole)


def close(outcome: MatchOutcome, whole: MatchOutcome) -> None:
    """Another batch size rounds otherwise: kurtosis, a fourth power, is off by 3e-5 at most."""
    for one, other in zip(numbers(outcome), numbers(whole), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4, equal_nan=True)


def test_a_full_device_halves_the_batch_and_goes_on(
    load: Callable[[str], Any], whole: MatchOutcome
) -> None:
    def full(images: int) -> None:
        if images > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")

    notes: list[str] = []
    outcome = ended(new_run(load, before_forward=full, note=notes.append))
    assert notes == ["The device's memory was full: batch halved to 2."]
    close(outcome, whole)


def test_memory_that_runs_out_while_counting_counts_nothing_twice(
    load: Callable[[str], Any], whole: MatchOutcome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add, calls = Counts.add, []

    def full(self: Counts, images: Any, maps: Any, first: int) -> None:
        calls.append(len(images.images))
        add(self, images, maps, first)
        if len(calls) == 5:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
            )

    monkeypatch.setattr(Counts, "add", full)
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    outcome = ended(new_run(load, checkpoint=checkpoint, every=10))
    assert max(calls[5:]) == 2
    assert sum(calls) == 40 + sum(calls[:5]) - 10  # went back to the state saved after 10
    close(outcome, whole)


def test_one_image_that_does_not_fit_is_told_in_bytes(load: Callable[[str], Any]) -> None:
    def full(_images: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")

    with pytest.raises(DeviceMemoryError) as caught:
        ended(new_run(load, before_forward=full))
    assert "One image of tiny-gan" in caught.value.message
    assert "2.50 GiB (2,684,354,560 bytes)" in caught.value.message
    assert "free" in caught.value.message
    assert "smaller batch" in caught.value.hint


def test_other_errors_of_a_model_are_not_taken_for_full_memory(load: Callable[[str], Any]) -> None:
    run = new_run(load)

    def broken(_prepared: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    run._backbones[1].forward = broken
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        ended(run)


def test_no_tap_is_left_when_a_model_raises(load: Callable[[str], Any]) -> None:
    run = new_run(load)
    backbone, generator = run._backbones[1], run._source._generator
    inside = backbone.net.get_submodule("mlp")

    def broken(_module: Any, _inputs: Any) -> None:
        raise RuntimeError("broken inside")

    handle = inside.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="broken inside"):
        ended(run)
    handle.remove()
    for net in (backbone.net, generator.net, run._backbones[0].net):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_batch_that_does_not_fit_into_a_cpus_memory_is_lowered_before(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    need = loop.image_bytes(new_run(load).layers)
    monkeypatch.setattr(loop, "free_bytes", lambda _: 4 * need)
    notes: list[str] = []
    steps = list(new_run(load, note=notes.append).steps())
    assert steps[1].done == 2
    assert "Batch lowered from 5 to 2" in notes[0]


def test_tables_that_do_not_fit_live_in_files(
    load: Callable[[str], Any],
    whole: MatchOutcome,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(loop, "table_bytes", lambda *_: 1 << 60)
    notes: list[str] = []
    outcome = ended(new_run(load, table_dir=tmp_path / "tables", note=notes.append))
    assert "kept in files" in notes[0]
    assert list((tmp_path / "tables").iterdir())
    for one, other in zip(numbers(outcome), numbers(whole), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6, equal_nan=True)


def test_each_size_is_resized_once(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rosetta_ui.matching import sources

    sizes: list[tuple[int, int]] = []
    real = sources.resize

    def counted(images: Any, size: tuple[int, int], how: str) -> Any:
        sizes.append(tuple(size))
        return real(images, size, how)

    monkeypatch.setattr(sources, "resize", counted)
    nets = [load(name) for name in ("tiny-net-a", "tiny-net-b", "tiny-tokens", "planted-copy-a")]
    plan = replace(PLAN, pairs=(("tiny-gan", "tiny-net-b"),), n_images=5, n_views=0)
    ended(MatchRun(GeneratedImages(load("tiny-gan"), 0), nets, plan))
    assert sorted(sizes) == [(24, 40), (32, 32)]
