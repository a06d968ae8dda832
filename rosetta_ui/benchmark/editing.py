"""Edits of the embedded generators, judged: one row a generator × edit × setting.

Medians over the seeds of each generator. The judge took no part in any edit; `partner_corr` reads
the maps of its own units that match the generator's. "published" rows use the published start,
learning rate and loss, and as many of its 500 steps as take the time of ours on the latent alone.
"pixels moved" rows ask no generator: they show what the judge gives to a perfect edit, and how
natural the picture is that was asked for.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Generator as Generator_
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from rosetta_ui.benchmark.edit_settings import (
    EDITS,
    FIRST,
    LATENT,
    MORE_EDITS,
    PUBLISHED_ZOOM_PULL,
    QUICK_SEEDS,
    SEEDS,
    SETTINGS,
    Setting,
)
from rosetta_ui.benchmark.machine import describe
from rosetta_ui.editing.course import Course, in_space
from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.edit import Coordinates, EditProblem, Target, chosen_maps, targets_of
from rosetta_ui.editing.judge import judge_cosine, patch_features
from rosetta_ui.editing.naturalness import Realism
from rosetta_ui.editing.optimise import Descent, Schedule, descend
from rosetta_ui.editing.partners import Partners
from rosetta_ui.editing.session import EditBench, best_latents, start_state
from rosetta_ui.editing.setup import usual_units
from rosetta_ui.editing.targets import affine_of
from rosetta_ui.edits import Edit, EditSettings, EditStep, PictureState, Shift, Zoom
from rosetta_ui.engine.editing_numbers import Jury, features_known, partners_of, realism_of
from rosetta_ui.engine.editing_work import edit_bench
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.models.moving import sample
from rosetta_ui.settings import Settings
from rosetta_ui.types import Latents, Space, Unit

Made = TypeVar("Made")
Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """What all rows of a generator share: its pictures before any edit, and who judges them.

    Attributes:
        bench: the generator and what is known of it.
        jury: the generator and the judge.
        states: pictures before.
        before: [n, 3, H, W].
        features: of them.
        partners: of the judge.
        realism: by space; empty where learning what is natural would take longer than a quick run
            may.
    """

    bench: EditBench
    jury: Jury
    states: Sequence[PictureState]
    before: Tensor
    features: Tensor
    partners: Partners
    realism: dict[Space, Realism]


class FreeCoordinates(Coordinates):
    """z as published: free to leave the shell of natural z."""

    def latents(self, at: Tensor) -> Tensor:
        """Coordinates are the latents."""
        return at


def run(quick: bool, json_file: Path | None, only: str = "") -> None:
    """Measure every case; prints a row as soon as it is there.

    Args:
        quick: few seeds and settings, at most five minutes.
        json_file: where to write `{"schema", "machine", "rows"}`; written after every row, so that
            Ctrl-C keeps what is done.
        only: measure rows whose "generator, edit, setting" has this in it.
    """
    rows: list[Row] = []
    workbench = Workbench.open(Settings.read())
    try:
        for row in _rows(workbench, quick, only):
            rows.append(row)
            sys.stdout.write("  ".join(f"{k} {v}" for k, v in row.items()) + "\n")
            sys.stdout.flush()
            if json_file is not None:
                record = {"schema": 1, "machine": describe(), "rows": rows}
                json_file.write_text(json.dumps(record, indent=1), "utf-8")
    except KeyboardInterrupt:
        sys.stdout.write(f"Stopped; {len(rows)} rows are kept.\n")
    finally:
        workbench.close()


def _rows(workbench: Workbench, quick: bool, only: str) -> Iterator[Row]:
    seeds = QUICK_SEEDS if quick else SEEDS
    for generator, edits in EDITS.items():
        wanted = [
            (edit, setting)
            for edit in (*edits, *([] if quick else MORE_EDITS))
            for setting in (SETTINGS[generator] if edit in edits else FIRST)
            if setting.quick or not quick
            if only in f"{generator}, {words(edit)}, {setting.name}"
        ]
        if not wanted:
            continue
        subject = _subject(workbench, generator, seeds[generator], quick)
        took: dict[Edit, float] = {}
        for edit, setting in wanted:
            limit = took.get(edit, float("inf")) if setting.published else float("inf")
            row = measure(subject, edit, setting, limit)
            if setting.name == LATENT:
                took[edit] = row["seconds"]
            yield row


def _subject(workbench: Workbench, name: str, n_seeds: int, quick: bool) -> Subject:
    jury = Jury.of(workbench, name)
    states = [start_state(jury.generator, seed) for seed in range(n_seeds)]
    first = states[0]
    bench = edit_bench(workbench, first, _nothing)
    with torch.inference_mode():
        images = torch.cat([jury.draw(state) for state in states])
        features = torch.cat([patch_features(jury.judge, image[None]) for image in images])
    partners = _finished(partners_of(workbench, jury, first, _nothing))
    realism: dict[Space, Realism] = {}
    small = max(jury.generator.card.image_size) <= 128
    if small or not quick or features_known(workbench, jury.generator, first):
        for space in jury.generator.card.spaces:
            there = replace(first, latents=replace(first.latents, space=space))
            realism[space] = _finished(realism_of(workbench, jury.generator, there, _nothing))
    return Subject(bench, jury, states, images, features, partners, realism)


def measure(subject: Subject, edit: Edit, setting: Setting, limit: float = float("inf")) -> Row:
    """One row.

    Args:
        subject: pictures before the edit.
        edit: what is asked.
        setting: how.
        limit: seconds that the optimiser may take for one picture.
    """
    generator, judge = subject.jury.generator, subject.jury.judge
    settings = setting.settings(generator.card, edit)
    begun = time.monotonic()
    latents = [_edited(subject.bench, s, edit, setting, limit) for s in subject.states]
    seconds = (time.monotonic() - begun) / len(latents)
    after: list[Tensor] = []
    with torch.inference_mode():
        for each, picture in zip(latents, subject.before, strict=True):
            if setting.pixels:
                after.append(sample(picture[None], [affine_of(edit)], edge="border"))
            else:
                after.append(generator.synthesise(each))
        features = torch.cat([patch_features(judge, image) for image in after])
    moved = torch.cat(
        [
            subject.jury.partner_corr(subject.partners, one[None], other, (edit,))
            for one, other in zip(subject.before, after, strict=True)
        ]
    )
    percentile = torch.full((len(after),), float("nan"))
    if settings.space in subject.realism:
        with torch.inference_mode():
            percentile = subject.realism[settings.space].percentile(
                torch.cat([torch.from_numpy(each.values) for each in latents]).to(features.device),
                features.mean((-2, -1)),
            )
    return {
        "generator": generator.card.name,
        "edit": words(edit),
        "setting": setting.name,
        "seeds": len(after),
        "fidelity_before": _median(judge_cosine(subject.features, subject.features, (edit,))),
        "fidelity_after": _median(judge_cosine(subject.features, features, (edit,))),
        "partner_corr": _median(moved),
        "realism_percentile": _median(percentile, 1),
        "beyond_95_before": _beyond(subject, settings.space),
        "beyond_95": int((percentile > 95).sum()) if settings.space in subject.realism else None,
        "seconds": round(seconds, 2),
    }


def _beyond(subject: Subject, space: Space) -> int | None:
    """How many of the pictures lie beyond the 95th percentile before any edit."""
    if space not in subject.realism:
        return None
    generator = subject.jury.generator
    latents = torch.cat([in_space(generator, s.latents, space) for s in subject.states])
    with torch.inference_mode():
        percentile = subject.realism[space].percentile(latents, subject.features.mean((-2, -1)))
    return int((percentile > 95).sum())


def _median(values: Tensor, digits: int = 3) -> float | None:
    found = float(values.median())
    return None if math.isnan(found) else round(found, digits)


def _edited(
    bench: EditBench, state: PictureState, edit: Edit, setting: Setting, limit: float
) -> Latents:
    """The latent after an edit."""
    generator = bench.generator
    settings = setting.settings(generator.card, edit)
    units = _units(bench, setting.layers)
    begun = time.monotonic()
    if setting.pixels:
        values = in_space(generator, state.latents, settings.space).cpu().numpy()
        return replace(state.latents, space=settings.space, values=values)
    if setting.published:
        return _published(bench, state, edit, units, settings, begun + limit)
    step = EditStep((edit,), units, settings)
    course = Course(generator, bench.setup, state, step, _nothing, bench.head)
    at, last = course.origin(), None
    for stage in range(course.stages):
        for last in descend(course.problem(stage), at, course.schedule(stage)):  # noqa: B007
            if time.monotonic() - begun > limit:
                break
        at = at if last is None else last.best
    return _best(course.where, last)


def _published(
    bench: EditBench,
    state: PictureState,
    edit: Edit,
    units: Sequence[Unit],
    settings: EditSettings,
    deadline: float,
) -> Latents:
    generator = bench.generator
    chosen = bench.setup.choose(generator, units)
    start = in_space(generator, state.latents, settings.space)
    where = FreeCoordinates(settings.space, start, None, state.class_index, state.psi)
    with torch.no_grad():
        targets = targets_of(chosen_maps(generator, chosen, where), [edit])
    # Zero where nothing is known, and that counts.
    targets = {name: Target(t.maps, torch.ones_like(t.mask)) for name, t in targets.items()}
    pull = PUBLISHED_ZOOM_PULL if isinstance(edit, Zoom) else 0.0
    drawer = Drawer(generator, chosen.layers, False, None, state.class_index, state.psi)
    problem = EditProblem(drawer, chosen, targets, where, pull=pull)
    last: Descent | None = None
    schedule = Schedule(settings.steps, settings.learning_rate)
    for last in descend(problem, where.origin(), schedule):  # noqa: B007 - the last is wanted
        if time.monotonic() > deadline:
            break
    return _best(where, last)


def _units(bench: EditBench, layers: Sequence[str]) -> tuple[Unit, ...]:
    if not layers:
        return usual_units(bench.generator.layers)
    specs = [spec for spec in bench.generator.layers if spec.name in layers]
    return tuple(spec.unit(c) for spec in specs for c in range(spec.channels))


def _best(where: Coordinates, last: Descent | None) -> Latents:
    if last is None:
        raise ValueError("a descent has steps")
    return best_latents(last, where, int(last.best_total.argmin()))


def words(edit: Edit) -> str:
    """An edit in the table."""
    match edit:
        case Shift(dx):
            return f"shift {100 * dx:g} %"
        case Zoom(factor):
            return f"zoom {factor:g}"
        case _:
            return type(edit).__name__.lower()


def _finished(work: Generator_[Any, None, Made]) -> Made:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def _nothing() -> None:
    """Nobody stops a benchmark."""
