"""Inversions of the planted generator: the truth is found, the same job gives the same latent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.edit import Coordinates
from rosetta_ui.editing.optimise import Schedule
from rosetta_ui.errors import BadRequestError, Cancelled, OptimisationDivergedError
from rosetta_ui.inversions import Guidance, Inversion, InversionRequest, InversionSettings
from rosetta_ui.inverting import run as running
from rosetta_ui.inverting.guide import Guide
from rosetta_ui.inverting.problem import InversionProblem, unnatural
from rosetta_ui.inverting.run import Job, Target, Tools, invert, target_of
from rosetta_ui.inverting.starts import bank_latents
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator

Ask = Callable[..., InversionRequest]
Models = tuple[Generator, Backbone]


def target(tools: Tools, request: InversionRequest, guide: Guide, models: Models) -> Target:
    return target_of(tools, request, guide, {"planted-copy-a": models[1]})


def inverted(tools: Tools, job: Job) -> Inversion:
    *_, last = invert(tools, job)
    assert last.result is not None
    return last.result


def test_pixels_find_the_generators_own_picture(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    request = ask(settings=InversionSettings("z", 200, 0.1, restarts=8))
    found = inverted(tools, Job(request, target(tools, request, guide, models)))
    assert found.numbers is not None
    assert found.numbers.psnr > 35
    assert found.history[-1].best < found.history[0].best
    assert found.numbers.psnr > 45, "polished to the rounding of its pixels"
    assert found.steps < 200, "nothing was left to gain"


def test_neurons_alone_agree_as_well_as_in_the_generators_own_picture(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    settings = InversionSettings("z", 200, 0.1, restarts=4)
    request = ask(guidance=Guidance(1.0), settings=settings)
    wanted = target(tools, request, guide, models)
    found = inverted(tools, Job(request, wanted))
    assert wanted.agreement is not None
    truth = torch.from_numpy(models[0].sample([0], 5).values)
    drawer = Drawer(models[0], wanted.agreement.layers, False)
    with torch.no_grad():
        best = float(wanted.agreement(drawer.draw(truth, "z")[1])[0])
    assert found.history[0].best > -0.8 * best
    assert found.history[-1].best < -0.95 * best, "the copies are noisy, so the truth has no 1"


def test_a_batch_of_restarts_equals_as_many_runs(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    request = ask(guidance=Guidance(0.5, 1.0, 0.1))
    wanted = target(tools, request, guide, models)
    assert wanted.agreement is not None
    start = models[0].sample([3, 4, 5], 1).values
    values = torch.from_numpy(start)

    def terms(z: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        layers = wanted.agreement.layers if wanted.agreement else ()
        at = z.clone().requires_grad_(True)
        where = Coordinates("z", z, None, None, 1.0, 3.0)
        problem = InversionProblem(wanted, Drawer(models[0], layers, True), where, pull=0.1)
        found = problem(at, 0)
        (gradient,) = torch.autograd.grad(torch.stack(list(found.values())).sum(), at)
        return found, gradient

    together, slope = terms(values)
    assert set(together) == {"neurons", "pixels", "perceptual", "pull"}
    for i in range(3):
        alone, own = terms(values[i : i + 1])
        for name, term in alone.items():
            torch.testing.assert_close(together[name][i : i + 1], term, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(slope[i : i + 1], own, atol=1e-6, rtol=1e-4)


def watch_stages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(optimiser, starts, steps) of each stage."""
    stages: list[tuple[str, int, int]] = []
    descend, polish = running.descend, running.polish

    def descended(problem: object, at: torch.Tensor, schedule: Schedule) -> object:
        stages.append(("adam", len(at), schedule.steps))
        return descend(problem, at, schedule)  # pyright: ignore

    def polished(problem: object, at: torch.Tensor, steps: int) -> object:
        stages.append(("l-bfgs", len(at), steps))
        return polish(problem, at, steps)  # pyright: ignore

    monkeypatch.setattr(running, "descend", descended)
    monkeypatch.setattr(running, "polish", polished)
    return stages


def test_starts_that_fall_behind_end_and_the_best_is_polished(
    tools: Tools, ask: Ask, guide: Guide, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = watch_stages(monkeypatch)
    request = ask(settings=InversionSettings("z", 40, 0.1, restarts=8))
    found = inverted(tools, Job(request, target(tools, request, guide, models)))
    assert stages == [("adam", 8, 8), ("adam", 2, 12), ("l-bfgs", 1, 20)]
    best = [point.best for point in found.history]
    assert best == sorted(best, reverse=True)
    assert [point.step for point in found.history] == list(range(1, found.steps + 1))


def test_published_settings_are_never_polished(
    tools: Tools, ask: Ask, guide: Guide, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = watch_stages(monkeypatch)
    settings = InversionSettings("z", 40, 0.01, restarts=1, start="random", plain=True)
    request = ask(settings=settings)
    inverted(tools, Job(request, target(tools, request, guide, models)))
    assert stages == [("adam", 1, 40)]


def test_polishing_gets_nearer_than_descent_alone(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    errors: list[float] = []
    for polished in (True, False):
        settings = InversionSettings("z", 60, 0.1, restarts=4, polish=polished)
        request = ask(settings=settings)
        found = inverted(tools, Job(request, target(tools, request, guide, models)))
        errors.append(found.history[-1].best)
    assert errors[0] < 0.5 * errors[1]


def test_the_same_job_gives_the_same_latent_and_another_seed_another(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    settings = InversionSettings("z", 15, 0.1, restarts=2, start="random")
    request = ask(settings=settings)
    wanted = target(tools, request, guide, models)
    first, again = (inverted(tools, Job(request, wanted)) for _ in range(2))
    assert np.array_equal(first.latents.values, again.latents.values)
    other = inverted(tools, Job(replace(request, seed=1), wanted))
    assert not np.array_equal(first.latents.values, other.latents.values)


@pytest.mark.parametrize("start", ["nearest", "average", "random"])
def test_every_start_gets_nearer(
    start: str, tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    settings = InversionSettings("z", 30, 0.1, restarts=2, start=start)  # pyright: ignore
    request = ask(settings=settings)
    found = inverted(tools, Job(request, target(tools, request, guide, models)))
    assert found.history[-1].best < 0.9 * found.history[0].best


def test_the_nearest_samples_are_nearer_than_others(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    assert tools.bank is not None
    for seed in range(4):
        wanted = target(tools, ask(seed), guide, models)
        order = tools.bank.nearest(wanted.image, tools.loop, len(tools.bank), colours=True)
        errors: list[float] = []
        for some in (order[:8], order[-8:]):
            z = bank_latents(models[0], some, "z", 1.0, None)
            with torch.no_grad():
                images, _ = Drawer(models[0], (), True).draw(z, "z")
                errors.append(float(wanted.terms(images, {})["pixels"].mean()))
        assert errors[0] < 0.8 * errors[1]


def test_more_steps_go_on_from_the_best(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    request = ask(settings=InversionSettings("z", 20, 0.1, restarts=1))
    wanted = target(tools, request, guide, models)
    first = replace(inverted(tools, Job(request, wanted)), which=3)
    more = inverted(tools, Job(request, wanted, resume=first))
    assert more.which == 3
    assert more.steps == 40
    assert more.history[:20] == first.history
    assert more.history[-1].best < first.history[-1].best


def test_a_stop_inside_the_forward_pass_keeps_the_best(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    passed = 0

    def check() -> None:
        nonlocal passed
        passed += 1
        if passed > 21:  # two layers a step: in the middle of the eleventh
            raise Cancelled

    request = ask(settings=InversionSettings("z", 500, 0.1, restarts=1))
    wanted = target(tools, request, guide, models)
    found = inverted(tools, Job(request, wanted, check=check))
    assert found.stopped
    assert 5 <= found.steps <= 11


def test_a_stop_before_the_first_step_leaves_nothing(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    def check() -> None:
        raise Cancelled

    request = ask()
    job = Job(request, target(tools, request, guide, models), check=check)
    with pytest.raises(Cancelled):
        list(invert(tools, job))


def test_a_loss_that_is_not_finite_is_said_and_the_best_is_kept(
    tools: Tools, ask: Ask, guide: Guide, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(settings=InversionSettings("z", 50, 0.1, restarts=1))
    wanted = target(tools, request, guide, models)
    terms, asked = Target.terms, 0

    def broken(self: Target, *inputs: object) -> dict[str, torch.Tensor]:
        nonlocal asked
        asked += 1
        found = terms(self, *inputs)  # pyright: ignore
        return {n: t * (float("nan") if asked == 5 else 1) for n, t in found.items()}

    monkeypatch.setattr(Target, "terms", broken)
    frames = invert(tools, Job(request, wanted))
    seen = []
    with pytest.raises(OptimisationDivergedError, match="step 5"):
        for frame in frames:
            seen.append(frame)
    assert seen[-1].result is not None
    assert seen[-1].result.steps == 4


def test_a_time_limit_ends_it(tools: Tools, ask: Ask, guide: Guide, models: Models) -> None:
    request = ask(settings=InversionSettings("z", 5000, 0.1, restarts=1))
    job = Job(request, target(tools, request, guide, models), limit=0.0)
    assert inverted(tools, job).steps == 1


def test_neurons_without_a_result_are_refused_with_the_next_step(tools: Tools, ask: Ask) -> None:
    with pytest.raises(BadRequestError, match="No result says which neurons guide"):
        target_of(tools, ask(guidance=Guidance(1.0)), None, {})


def test_frames_come_at_most_ten_a_second(
    tools: Tools, ask: Ask, guide: Guide, models: Models
) -> None:
    request = ask(settings=InversionSettings("z", 200, 0.1, restarts=2))
    frames = list(invert(tools, Job(request, target(tools, request, guide, models))))
    shown = [f for f in frames[:-1] if f.picture is not None]
    assert 1 <= len(shown) <= 10 * frames[-1].seconds + 1
    assert frames[-1].picture is not None
    assert set(frames[0].terms) == {"pixels"}


def test_the_pull_of_natural_latents_is_small_and_of_far_ones_large(models: Models) -> None:
    near = torch.from_numpy(models[0].sample([0, 1], 2).values)
    where = Coordinates("z", near)
    assert float(unnatural(where, near, near).max()) < float(unnatural(where, near, 2 * near).min())
