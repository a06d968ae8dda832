"""Descent: it finds minima, keeps the best step, and stops when it should."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from rosetta_ui.editing.optimise import Descent, Schedule, descend, polish
from rosetta_ui.errors import OptimisationDivergedError

GOAL = torch.tensor([[1.0, -2.0], [0.5, 3.0]])


def bowl(at: Tensor, _step: int) -> Mapping[str, Tensor]:
    return {"bowl": (at - GOAL).square().sum(1), "pull": 0 * at.sum(1)}


def run(problem: object = bowl, **changes: object) -> list[Descent]:
    schedule = Schedule(**({"steps": 200, "learning_rate": 0.1} | changes))  # type: ignore[arg-type]
    return list(descend(problem, torch.zeros(2, 2), schedule))  # type: ignore[arg-type]


def test_a_bowl_is_solved_and_its_terms_are_named() -> None:
    last = run()[-1]
    assert torch.allclose(last.best, GOAL, atol=1e-2)
    assert set(last.terms) == {"bowl", "pull"}


def test_samples_of_a_batch_do_not_disturb_each_other() -> None:
    def alone(at: Tensor, _step: int) -> Mapping[str, Tensor]:
        return {"bowl": (at - GOAL[:1]).square().sum(1)}

    single = list(descend(alone, torch.zeros(1, 2), Schedule(steps=50)))[-1]
    both = list(descend(bowl, torch.zeros(2, 2), Schedule(steps=50)))[-1]
    assert torch.equal(single.best[0], both.best[0])


def test_the_best_step_is_kept_when_later_ones_are_worse() -> None:
    def trap(at: Tensor, step: int) -> Mapping[str, Tensor]:
        return {"trap": (at - GOAL).square().sum(1) + (100.0 if step > 20 else 0.0)}

    steps = run(trap, steps=40)
    assert torch.equal(steps[-1].best, steps[20].best)
    assert bool((steps[-1].best_total < steps[-1].total).all())


def test_it_stops_early_when_nothing_changes() -> None:
    steps = run(lambda at, _step: {"flat": 0 * at.sum(1) + 1}, patience=5)
    assert len(steps) == 6
    assert steps[-1].stopped_early


def test_the_rate_ramps_up_and_falls_to_nothing() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[4] == rates[60] == 1.0
    assert rates[-1] < 0.01
    assert sorted(rates[75:], reverse=True) == rates[75:]


def test_a_loss_that_is_not_finite_ends_with_a_sentence_and_keeps_the_good_steps() -> None:
    def breaks(at: Tensor, step: int) -> Mapping[str, Tensor]:
        return {"bowl": (at - GOAL).square().sum(1) * (float("nan") if step == 3 else 1.0)}

    seen: list[Descent] = []
    with pytest.raises(OptimisationDivergedError, match="step 4"):
        seen.extend(iter_into(seen, breaks))
    assert len(seen) == 3
    assert bool(seen[-1].best_total.isfinite().all())


def iter_into(seen: list[Descent], problem: object) -> list[Descent]:
    for step in descend(problem, torch.zeros(2, 2), Schedule(steps=10)):  # type: ignore[arg-type]
        seen.append(step)
    return []


def test_the_start_is_left_as_it_is() -> None:
    start = torch.zeros(2, 2)
    list(descend(bowl, start, Schedule(steps=3)))
    assert torch.equal(start, torch.zeros(2, 2))


def valley(at: Tensor, _step: int) -> Mapping[str, Tensor]:
    """Rosenbrock's: a curved valley, flat along its floor; least at (1, 1)."""
    x, y = at[:, 0], at[:, 1]
    return {"valley": (1 - x).square() + 100 * (y - x.square()).square()}


FAR = torch.tensor([[-1.2, 1.0]])


def test_polishing_ends_where_adam_is_still_on_its_way() -> None:
    found = list(polish(valley, FAR, 100))[-1]
    slow = list(descend(valley, FAR, Schedule(steps=100, learning_rate=0.1)))[-1]
    assert float(found.best_total) < 1e-8 < 1e-3 < float(slow.best_total)
    assert torch.allclose(found.best, torch.ones(1, 2), atol=1e-3)


def test_every_step_of_polishing_is_one_evaluation_and_no_more_are_made() -> None:
    asked: list[Tensor] = []

    def counted(at: Tensor, step: int) -> Mapping[str, Tensor]:
        assert step == len(asked)
        asked.append(at.detach().clone())
        return valley(at, step)

    for steps in (1, 7, 30):
        asked.clear()
        seen = list(polish(counted, FAR, steps))
        assert len(asked) == steps
        assert [each.step for each in seen] == list(range(1, steps + 1))
        assert len({tuple(at[0].tolist()) for at in asked}) == steps, "no point is asked for twice"
        totals = [float(valley(at, 0)["valley"]) for at in asked]
        assert float(seen[-1].best_total) == min(totals)


def test_polishing_ends_early_at_the_bottom() -> None:
    def round_bowl(at: Tensor, _step: int) -> Mapping[str, Tensor]:
        return {"bowl": at.square().sum(1)}

    seen = list(polish(round_bowl, FAR, 500))
    assert len(seen) < 30
    assert float(seen[-1].best_total) < 1e-12


def test_only_one_start_is_polished() -> None:
    with pytest.raises(ValueError, match="one start"):
        list(polish(bowl, torch.zeros(2, 2), 5))


def test_polishing_says_when_the_loss_is_not_finite() -> None:
    def cliff(at: Tensor, step: int) -> Mapping[str, Tensor]:
        return {"valley": valley(at, step)["valley"] * (float("nan") if step == 3 else 1)}

    seen: list[Descent] = []
    with pytest.raises(OptimisationDivergedError, match="step 4"):
        for each in polish(cliff, FAR, 10):
            seen.append(each)
    assert seen
