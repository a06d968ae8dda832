"""Edits of the embedded generators, judged: one row a generator × edit × setting.

Medians over the seeds of each generator. The judge took no part in any edit; `partner_corr` reads
the maps of its own units that match the generator's. "published" rows use the published start,
learning rate and loss, and as many of its 500 steps as take the time of ours.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rosetta_ui.benchmark.edit_partners import Partners
from rosetta_ui.editing.edit import Coordinates, EditProblem, Target, chosen_maps, targets_of
from rosetta_ui.editing.judge import judge_cosine, patch_features
from rosetta_ui.editing.naturalness import Realism
from rosetta_ui.editing.optimise import Descent, Schedule, descend
from rosetta_ui.editing.session import EditBench, in_space, start_state
from rosetta_ui.editing.setup import usual_settings, usual_units
from rosetta_ui.editing.targets import affine_of
from rosetta_ui.edits import Edit, EditSettings, PictureState, Shift, Zoom
from rosetta_ui.engine.editing_work import JUDGE, edit_bench, realism_of
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.settings import Settings
from rosetta_ui.types import Space

CASES: Mapping[str, Sequence[Edit]] = {
    "dcgan-digiface": (Shift(0.12), Zoom(1.25)),
    "mobilestylegan": (Zoom(1.25), Shift(0.06), Shift(0.10)),
}
SEEDS = {"dcgan-digiface": 24, "mobilestylegan": 8}
QUICK_SEEDS = {"dcgan-digiface": 4, "mobilestylegan": 1}

PUBLISHED_RATE = 0.001
PUBLISHED_STEPS = 500


@dataclass(frozen=True)
class Case:
    """One row before it is measured."""

    generator: str
    edit: Edit
    setting: str
    settings: EditSettings
    published: bool = False


@dataclass(frozen=True)
class Subject:
    """What all rows of a generator share: its pictures before any edit, and what judges them."""

    bench: EditBench
    states: Sequence[PictureState]
    before: Tensor
    features: Tensor
    partners: Partners
    realism: Realism


class FreeCoordinates(Coordinates):
    """z as published: free to leave the shell of natural z."""

    def latents(self, at: Tensor) -> Tensor:
        """Coordinates are the latents."""
        return at


def run(quick: bool, json_file: Path | None) -> None:
    """Measure every case; prints a table, and writes the rows where a file is given.

    Args:
        quick: few seeds and no published rows.
        json_file: where to write `{"schema", "machine", "rows"}`; written after every row.
    """
    rows: list[dict[str, Any]] = []
    workbench = Workbench.open(Settings.read())
    try:
        for row in _rows(workbench, quick):
            rows.append(row)
            sys.stdout.write("  ".join(f"{k} {v}" for k, v in row.items()) + "\n")
            sys.stdout.flush()
            if json_file is not None:
                machine = {"processor": platform.processor(), "threads": torch.get_num_threads()}
                record = {"schema": 1, "machine": machine, "rows": rows}
                json_file.write_text(json.dumps(record, indent=1), "utf-8")
    finally:
        workbench.close()


def _rows(workbench: Workbench, quick: bool) -> Iterator[dict[str, Any]]:
    seeds = QUICK_SEEDS if quick else SEEDS
    for name, edits in CASES.items():
        subject = _subject(workbench, name, seeds[name])
        card = subject.bench.generator.card
        for edit in edits:
            usual = usual_settings(card, (edit,))
            ours = measure(workbench, subject, Case(name, edit, "ours", usual))
            yield ours
            if not quick:
                space: Space = "z"
                settings = EditSettings(space, PUBLISHED_STEPS, PUBLISHED_RATE, patience=0)
                case = Case(name, edit, "published, equal time", settings, published=True)
                yield measure(workbench, subject, case, limit=ours["seconds"])


def _subject(workbench: Workbench, name: str, n_seeds: int) -> Subject:
    generator = workbench.models.generator(name)
    judge = workbench.models.backbone(JUDGE)
    states = [start_state(generator, seed) for seed in range(n_seeds)]
    first = edit_bench(workbench, states[0], _nothing)
    with torch.inference_mode():
        images = torch.cat([generator.synthesise(state.latents) for state in states])
        features = patch_features(judge, images)
    partners = Partners.find(generator, judge, first.setup, usual_units(generator.layers))
    edited = replace(states[0], latents=replace(states[0].latents, space=_space(generator.card)))
    realism = _finished(realism_of(workbench, generator, edited, _nothing))
    return Subject(first, states, images, features, partners, realism)


def _space(card: Any) -> Space:
    return usual_settings(card).space


def measure(
    workbench: Workbench, subject: Subject, case: Case, limit: float = float("inf")
) -> dict[str, Any]:
    """One row.

    Args:
        workbench: has the judge.
        subject: pictures before the edit.
        case: what to do to them.
        limit: seconds that the optimiser may take for one picture.
    """
    generator = subject.bench.generator
    judge = workbench.models.backbone(JUDGE)
    affine = affine_of(case.edit)
    latents: list[Tensor] = []
    images: list[Tensor] = []
    begun = time.monotonic()
    for state in subject.states:
        latents.append(_edited(subject.bench, state, case, limit))
    seconds = (time.monotonic() - begun) / len(subject.states)
    with torch.inference_mode():
        for each, state in zip(latents, subject.states, strict=True):
            images.append(generator.synthesise_from(each, case.settings.space, psi=state.psi))
        features = patch_features(judge, torch.cat(images))
        before = judge_cosine(subject.features, subject.features, affine)
        after = judge_cosine(subject.features, features, affine)
        moved = subject.partners.corr(judge, subject.before, torch.cat(images), affine)
        judged = _judged_latents(subject, torch.cat(latents), case)
        percentile = subject.realism.percentile(judged, features.mean((-2, -1)))
    return {
        "generator": case.generator,
        "edit": _words(case.edit),
        "setting": case.setting,
        "seeds": len(subject.states),
        "fidelity_before": round(float(before.median()), 3),
        "fidelity_after": round(float(after.median()), 3),
        "partner_corr": round(float(moved.median()), 3),
        "realism_percentile": round(float(percentile.median()), 1),
        "beyond_95": int((percentile > 95).sum()),
        "seconds": round(seconds, 2),
    }


def _judged_latents(subject: Subject, latents: Tensor, case: Case) -> Tensor:
    """Latents in the space that the yardstick measures."""
    if case.settings.space == "z" and subject.bench.generator.n_ws:
        return torch.cat(
            [
                subject.bench.generator.to_w(z[None], psi=state.psi)
                for z, state in zip(latents, subject.states, strict=True)
            ]
        )
    return latents


def _edited(bench: EditBench, state: PictureState, case: Case, limit: float) -> Tensor:
    """The latent after an edit: [1, ...]."""
    generator, settings = bench.generator, case.settings
    chosen = bench.setup.choose(generator, usual_units(generator.layers))
    start = in_space(generator, state.latents, settings.space)
    kind = FreeCoordinates if case.published else Coordinates
    where = kind(settings.space, start, bench.setup.prior, state.class_index, state.psi)
    with torch.no_grad():
        targets = targets_of(chosen_maps(generator, chosen, where), [case.edit])
    if case.published:  # zero where nothing is known, and that counts
        targets = {
            name: Target(target.maps, torch.ones_like(target.mask))
            for name, target in targets.items()
        }
    pull = 10.0 if case.published and isinstance(case.edit, Zoom) else settings.pull
    problem = EditProblem(generator, chosen, targets, where, pull=pull)
    schedule = Schedule(settings.steps, settings.learning_rate, patience=settings.patience)
    last: Descent | None = None
    begun = time.monotonic()
    for last in descend(problem, where.origin(), schedule):  # noqa: B007 - the last is wanted
        if time.monotonic() - begun > limit:
            break
    if last is None:
        raise ValueError("a descent has steps")
    return where.latents(last.best).detach()


def _words(edit: Edit) -> str:
    match edit:
        case Shift(dx):
            return f"shift {100 * dx:g} %"
        case Zoom(factor):
            return f"zoom {factor:g}"
        case _:
            return type(edit).__name__.lower()


def _finished(work: Generator[Any, None, Realism]) -> Realism:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def _nothing() -> None:
    """Nobody stops a benchmark."""
