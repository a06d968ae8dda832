"""Descent on a batch of latents: schedule, best step kept, early stop. Knows no generator.

A problem is a function from coordinates to named loss terms; what the coordinates mean is its own
business (`latents.py` has z, w, w+ and whitened ones).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.errors import OptimisationDivergedError

Problem = Callable[[Tensor, int], Mapping[str, Tensor]]
"""(coordinates [n, ...], step) → name → loss term [n], already weighted; their sum is minimised."""


@dataclass(frozen=True)
class Schedule:
    """How to descend.

    Attributes:
        steps: at most so many.
        learning_rate: of Adam, at its highest.
        betas: of Adam.
        warm_up: share of the steps in which the rate ramps up linearly.
        cool_down: share of the steps in which it falls to 0 by a cosine.
        patience: stop after so many steps without `least_gain` of improvement; 0 never stops early.
        least_gain: relative improvement of the best total that counts as one.
    """

    steps: int = 100
    learning_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    warm_up: float = 0.05
    cool_down: float = 0.25
    patience: int = 0
    least_gain: float = 1e-4

    def rate(self, step: int) -> float:
        """Learning rate of a step, 0 for the first."""
        done = (step + 1) / self.steps
        up = min(1.0, done / self.warm_up) if self.warm_up > 0 else 1.0
        left = 1 - step / self.steps
        down = 1.0
        if self.cool_down > 0 and left < self.cool_down:
            down = 0.5 - 0.5 * math.cos(math.pi * left / self.cool_down)
        return self.learning_rate * up * down


@dataclass(frozen=True)
class Descent:
    """The state after one step.

    Attributes:
        step: 1 for the first.
        steps: how many there will be at most.
        terms: name → [n] of this step, before its update.
        total: [n], their sum.
        best: [n, ...] the coordinates with the lowest total so far, each sample by itself.
        best_total: [n].
        stopped_early: nothing has changed for `patience` steps.
    """

    step: int
    steps: int
    terms: Mapping[str, Tensor]
    total: Tensor
    best: Tensor
    best_total: Tensor
    stopped_early: bool = False


def descend(problem: Problem, start: Tensor, schedule: Schedule) -> Iterator[Descent]:
    """Minimise a problem over a batch; yields once a step, after evaluating it.

    The samples do not disturb each other: Adam works entry by entry and the summed loss has no
    term across samples, so a batch of restarts equals so many runs.

    Args:
        problem: gives the loss terms; may raise `Cancelled`.
        start: [n, ...] first coordinates; left as it is.
        schedule: how to descend.

    Raises:
        OptimisationDivergedError: a total is not finite; the steps yielded before stay good.
    """
    at = start.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([at], lr=schedule.learning_rate, betas=schedule.betas)
    best = at.detach().clone()
    best_total = torch.full((at.shape[0],), math.inf, dtype=at.dtype, device=at.device)
    mark, since = best_total.clone(), 0
    for step in range(schedule.steps):
        optimiser.zero_grad(set_to_none=True)
        terms = problem(at, step)
        total = torch.stack(list(terms.values())).sum(0)
        if not bool(total.isfinite().all()):
            raise OptimisationDivergedError(
                f"The loss stopped being finite at step {step + 1}; "
                f"the last good one was {float(best_total.min()):.4g}.",
                "The last good picture is kept; try a smaller change or fewer steps.",
            )
        better = total.detach() < best_total
        shape = (-1, *[1] * (at.ndim - 1))
        best = torch.where(better.view(shape), at.detach(), best)
        best_total = torch.where(better, total.detach(), best_total)
        # The first mark is infinite, and infinity minus a share of itself is not a number.
        gained = step == 0 or bool((mark - best_total > schedule.least_gain * mark.abs()).any())
        mark, since = (best_total.clone(), 0) if gained else (mark, since + 1)
        early = 0 < schedule.patience <= since
        yield Descent(
            step + 1,
            schedule.steps,
            {name: term.detach() for name, term in terms.items()},
            total.detach(),
            best,
            best_total,
            early,
        )
        if early:
            return
        total.sum().backward()
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        optimiser.step()
