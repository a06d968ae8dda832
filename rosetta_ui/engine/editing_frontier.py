"""One edit at several strengths beside each other, judged: fidelity against realism.

The task `edit-frontier` of `dispatch`.
"""

from __future__ import annotations

from collections.abc import Generator as Generator_
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch

from rosetta_ui.editing.judge import judge_cosine, patch_features
from rosetta_ui.editing.session import as_picture, ladder
from rosetta_ui.editing.yardstick import NATURAL_PICTURES
from rosetta_ui.edits import (
    EditFrame,
    EditNumbers,
    EditStep,
    Frontier,
    FrontierPoint,
    PictureState,
    Rung,
    has_parts,
)
from rosetta_ui.engine.editing_numbers import (
    JUDGE,
    NAN,
    Check,
    Jury,
    partners_of,
    realism_of,
    with_realism,
)
from rosetta_ui.engine.editing_work import cancel_check, edit_bench
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.probing.memory import out_of_memory

Learnt = TypeVar("Learnt")

SHARES = (0.25, 0.5, 0.75, 1.0, 1.25)
"""The last one is further than what was asked, where the optimiser falls short of it."""

PULLS = (1.0, 0.3, 0.1, 0.03, 0.01)
"""For what has no parts, such as a mirror: the weaker the pull, the further it goes."""

LIMIT = 95.0
"""Percentile of natural samples up to which a picture counts as natural."""


def rungs(step: EditStep) -> tuple[Rung, ...]:
    """The strengths that are tried for an edit, weakest first."""
    if has_parts(step.edits):
        return tuple(Rung(share, step.settings.pull) for share in SHARES)
    return tuple(Rung(1.0, pull) for pull in PULLS)


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[EditFrame | Frontier]:
    """Do an edit at every strength and judge each.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `state`, `step` (with its ladder), `label`, `job`.

    Yields:
        Frames without a state, then the frontier.
    """
    check = cancel_check(bench, values)
    state: PictureState = values["state"]
    step: EditStep = values["step"]
    with out_of_memory(bench.models.device, "an edit at several strengths"):
        found = edit_bench(bench, state, check)
        states = yield from ladder(found, state, step, check)
        jury = Jury.of(bench, state.generator)
        partners = yield from _learning(partners_of(bench, jury, state, check), check)
        yardstick = yield from _learning(realism_of(bench, jury.generator, states[0], check), check)
        with torch.inference_mode():
            before = jury.draw(state)
            source = None if step.source is None else jury.draw(step.source)
            first = patch_features(jury.judge, before)
            other = None if source is None else patch_features(jury.judge, source)
            was = float(judge_cosine(first, first, step.edits, other)[0])
        points: list[FrontierPoint] = []
        for rung, each in zip(step.ladder, states, strict=True):
            check()
            with torch.inference_mode():
                image = jury.draw(each)
                seen = patch_features(jury.judge, image)
                now = float(judge_cosine(first, seen, step.edits, other)[0])
            moved = float(jury.partner_corr(partners, before, image, step.edits, source)[0])
            numbers = EditNumbers(was, now, moved, NAN, NAN, NAN, JUDGE)
            numbers = with_realism(numbers, yardstick, each, seen)
            picture = as_picture(image)
            points.append(FrontierPoint(rung, picture, each, numbers))
            yield EditFrame(len(points), len(states), 0.0, picture, True, note="Judging.")
    natural = [i for i, p in enumerate(points) if p.numbers.realism_percentile <= LIMIT]
    yield Frontier(values["label"], tuple(points), natural[-1] if natural else -1)


def _learning(
    work: Generator_[int, None, Learnt], check: Check
) -> Generator_[EditFrame, None, Learnt]:
    """Do what must be done once for a generator, and say how far it is."""
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            return end.value
        check()
        note = f"Learning what is natural: {done} pictures so far."
        yield EditFrame(done, NATURAL_PICTURES, 0.0, note=note)
