"""The parts of inverting that need the device; called through `dispatch`, or while it is held.

What inversions of a generator stand on (statistics, prior, preview head, natural samples to start
from) is kept in the cache. Nothing of a person's picture is: it comes in the request and goes with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Generator as Generator_
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.judge import patch_features
from rosetta_ui.editing.losses import correlation
from rosetta_ui.editing.setup import editable
from rosetta_ui.edits import PictureState
from rosetta_ui.engine.editing_numbers import JUDGE, realism_of
from rosetta_ui.engine.editing_work import cancel_check, edit_bench, edit_key
from rosetta_ui.engine.requests import model_key
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import WeightsUnavailableError
from rosetta_ui.inversions import (
    Framed,
    GuidingMap,
    GuidingNeuron,
    Inversion,
    InversionFrame,
    InversionRequest,
    default_crop,
)
from rosetta_ui.inverting.features import FeatureDistance
from rosetta_ui.inverting.framing import framing
from rosetta_ui.inverting.guide import Guide, Pair
from rosetta_ui.inverting.lpips_installed import installed_lpips
from rosetta_ui.inverting.metrics import as_images, compare
from rosetta_ui.inverting.neurons import Agreement, look, partner_layers
from rosetta_ui.inverting.run import LOOP_SIDE, Job, Target, Tools, invert, target_of
from rosetta_ui.inverting.starts import Bank, bank_size, fill
from rosetta_ui.models.backbone import Backbone, resize
from rosetta_ui.probing.memory import out_of_memory
from rosetta_ui.types import Latents, Unit

LOOP_BACKBONE = "efficientnet-lite0"
"""Looks at pictures in the loop, and at natural samples: the quickest of the embedded ones."""

JUDGE_BACKBONE = "mobilenetv2"
"""Tells the distance that is reported: another one than in the loop, or the loop would be praised
for what it was told to do."""

LEAST_LPIPS = 64
"""Side of the smallest pictures that LPIPS is told of: AlexNet halves them five times."""

Check = Callable[[], None]
Said = TypeVar("Said")
Told = TypeVar("Told")
Made = TypeVar("Made")


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[Any]:
    """The task `invert` of `dispatch`.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `what` and what it takes: `invert` (job, request, guide, label, classes, resume),
            `prepare` (job, request, picture), `heatmaps` (result, guide, most),
            `compare` (pairs: pictures two by two).

    Yields:
        `InversionFrame`s, the last of each class with its result; what is being made
        for `prepare`, `Framed` last where it has a picture; `GuidingNeuron`s at once for
        `heatmaps`; numbers of each pair for `compare`.
    """
    with out_of_memory(bench.models.device, "an inversion"):
        yield from _WHAT[values["what"]](bench, values)


def _invert(bench: Workbench, values: Mapping[str, Any]) -> Iterator[InversionFrame]:
    request: InversionRequest = values["request"]
    guide: Guide | None = values["guide"]
    check = cancel_check(bench, values)
    classes: tuple[int, ...] = values.get("classes") or ()
    target: Target | None = None
    asked = [replace(request, class_index=c) for c in classes] or [request]
    total = sum(each.settings.steps for each in asked)
    before = 0
    for at, each in enumerate(asked, 1):
        tools = yield from _told(
            tools_of(bench, each, check),
            partial(_before_first_step, before, total),
        )
        if target is None:
            named = () if guide is None else guide.backbones
            backbones = {name: bench.models.backbone(name) for name in named}
            target = target_of(tools, each, guide, backbones, check)
        label = values.get("label", "")
        if each.class_index is not None and classes:
            label = f"{label}, class {each.class_index}"
        job = Job(each, target, label, values.get("resume"), check=check)
        for frame in invert(tools, job):
            frame = _with_lpips(frame)
            said = f"Class {each.class_index}, {at} of {len(asked)}."
            yield frame if len(asked) == 1 else _placed(frame, before, total, said)
        before += each.settings.steps


def _with_lpips(frame: InversionFrame) -> InversionFrame:
    """A frame whose result, if it has one, is compared by LPIPS too where that is installed."""
    result = frame.result
    if result is None or result.numbers is None or (lpips := installed_lpips()) is None:
        return frame
    target, picture = (as_images(p) for p in (result.request.picture, result.picture))
    side = max(min(target.shape[-1], picture.shape[-1]), LEAST_LPIPS)
    first, second = (resize(p, (side, side), "bilinear") for p in (target, picture))
    numbers = replace(result.numbers, lpips=lpips(first, second))
    return replace(frame, result=replace(result, numbers=numbers))


def _before_first_step(before: int, total: int, said: str) -> InversionFrame:
    return InversionFrame(before, total, 0.0, float("nan"), message=said)


def _told(
    making: Generator_[Said, None, Made], say: Callable[[Said], Told]
) -> Generator_[Told, None, Made]:
    """Pass on what is said while something is made, in other words, and give what was made."""
    while True:
        try:
            said = next(making)
        except StopIteration as done:
            return done.value
        yield say(said)


def _placed(frame: InversionFrame, before: int, total: int, said: str) -> InversionFrame:
    """A frame of one class among several: steps count on, and it is said which class it is."""
    step = before + frame.step
    pace = frame.seconds / max(frame.step, 1)
    left = pace * (total - step)
    return replace(frame, step=step, steps=total, seconds_left=left, message=said)


def tools_of(
    bench: Workbench, request: InversionRequest, check: Check
) -> Generator_[str, None, Tools]:
    """What inversions of a request's generator, ψ and class work with, from the cache or made now.

    Yields:
        What is being made, for a person.
    """
    generator = bench.models.generator(request.generator)
    state = _state(request, Latents("z", np.zeros((1, 1), np.float32)))
    yield "Learning what the generator draws."
    found = edit_bench(bench, state, check)
    loop = FeatureDistance.of(looking(bench, LOOP_BACKBONE), LOOP_SIDE)
    judge = FeatureDistance.of(looking(bench, JUDGE_BACKBONE))
    tools = Tools(generator, found.setup, found.head, loop, judge)
    if request.settings.start != "nearest":
        return tools
    card = model_key(loop.backbone.card, bench.weights)
    size = bank_size(generator)
    key = edit_key(
        bench, generator, state, "inversion-starts", backbone=card, size=size, side=loop.size
    )
    kept = bench.store.get(key)
    if kept is None:
        drawer = Drawer(generator, (), True, found.head, state.class_index, state.psi, check)
        made = yield from _told(
            fill(drawer, loop, size),
            lambda done: f"Drawing pictures to start from: {done} of {size}.",
        )
        kept = made.arrays()
        bench.store.put(key, kept, "inversion-starts")
    return replace(tools, bank=Bank.from_arrays(kept))


def looking(bench: Workbench, name: str) -> Backbone:
    """The backbone of this name, or another embedded one where it is not ready.

    Raises:
        WeightsUnavailableError: no embedded backbone is ready.
    """
    cards = [card for card in bench.registry.cards("backbone") if card.embedded]
    cards.sort(key=lambda card: card.name != name)
    for card in cards:
        if bench.weights.state(card).state == "ready":
            return bench.models.backbone(card.name)
    raise WeightsUnavailableError(
        "No backbone is ready to compare pictures.", "Run: python -m rosetta_ui zoo fetch"
    )


def _state(request: InversionRequest, latents: Latents) -> PictureState:
    """What the caches of edits are keyed by: generator, ψ and class."""
    if request.psi is None:
        raise ValueError("a checked request has its ψ")
    return PictureState(request.generator, -1, request.psi, request.class_index, latents, latents)


def _compare(bench: Workbench, values: Mapping[str, Any]) -> Iterator[dict[str, float | str]]:
    """What two pictures have in common; with LPIPS where it is installed."""
    distance = FeatureDistance.of(looking(bench, JUDGE_BACKBONE))
    lpips = installed_lpips()
    for first, second in values["pairs"]:
        numbers = compare(first, second, distance)
        found: dict[str, float | str] = {
            "psnr": numbers.psnr,
            "ssim": numbers.ssim,
            "perceptual": numbers.perceptual,
            "perceptual_name": numbers.perceptual_name,
        }
        if lpips is not None:
            found["lpips"] = lpips(as_images(first), as_images(second))
        yield found


def _prepare(bench: Workbench, values: Mapping[str, Any]) -> Iterator[str | Framed]:
    check = cancel_check(bench, values)
    tools = yield from tools_of(bench, values["request"], check)
    picture: NDArray[np.uint8] | None = values.get("picture")
    if picture is None or tools.bank is None:
        return
    height, width = picture.shape[:2]
    guess = default_crop(width, height, tools.generator.card.framing)
    yield Framed(True, framing(picture, guess, tools.bank, tools.loop, check))


# Where do the models agree?


def _heatmaps(bench: Workbench, values: Mapping[str, Any]) -> Iterator[tuple[GuidingNeuron, ...]]:
    result: Inversion = values["result"]
    guide: Guide = values["guide"]
    check = cancel_check(bench, values)
    generator = bench.models.generator(result.request.generator)
    target, drawn = (
        as_images(p, generator.device) for p in (result.request.picture, result.picture)
    )
    layers = partner_layers(guide)
    seen: dict[str, list[dict[str, Tensor]]] = {}
    for name in guide.backbones:
        backbone = bench.models.backbone(name)
        seen[name] = [look(backbone, image, layers[name], check) for image in (target, drawn)]
    agreement = Agreement(
        guide, editable(generator.layers), {name: maps[0] for name, maps in seen.items()}
    )
    own = _own_maps(bench, result, agreement)
    with torch.no_grad():
        each = agreement.each(own)[0].tolist()
    yield _neurons(guide, own, seen, each)[: values["most"]]


def _own_maps(bench: Workbench, result: Inversion, agreement: Agreement) -> dict[str, Tensor]:
    """The generator's maps while it draws a result."""
    generator, latents = bench.models.generator(result.request.generator), result.latents
    values = torch.from_numpy(latents.values).to(generator.device)
    drawer = Drawer(generator, agreement.layers, False, None, latents.class_index, latents.psi)
    with torch.no_grad():
        return drawer.draw(values, latents.space)[1]


def _neurons(
    guide: Guide,
    own: Mapping[str, Tensor],
    seen: Mapping[str, list[dict[str, Tensor]]],
    agreement: list[float],
) -> tuple[GuidingNeuron, ...]:
    """Units with the most partners first, then by their best match."""
    grouped: dict[Unit, dict[str, GuidingMap]] = {}
    best: dict[Unit, float] = {}
    for pair, agreed in zip(guide.pairs, agreement, strict=True):
        partners = grouped.setdefault(pair.unit, {})
        best.setdefault(pair.unit, pair.score)
        partners.setdefault(pair.partner.model, _both(guide, pair, seen, agreed))
    order = sorted(grouped, key=lambda unit: (-len(grouped[unit]), -best[unit]))
    return tuple(
        GuidingNeuron(unit, _bytes(own[unit.layer][0, unit.channel])[0], grouped[unit])
        for unit in order
    )


def _both(
    guide: Guide, pair: Pair, seen: Mapping[str, list[dict[str, Tensor]]], agreed: float
) -> GuidingMap:
    unit = pair.partner
    maps = [found[unit.layer][0, unit.channel].float() for found in seen[unit.model]]
    mean = float(guide.mean[unit.model][unit.layer][unit.channel])
    deviation = float(guide.deviation[unit.model][unit.layer][unit.channel])
    ours = [((m - mean) / deviation)[None, None] for m in maps]
    repeated = float(correlation(ours[1], ours[0])[0, 0])
    target, inversion = _bytes(*maps)
    return GuidingMap(unit, target, inversion, agreed, repeated)


def _bytes(*maps: Tensor) -> list[NDArray[np.uint8]]:
    """Maps as bytes on one scale: 0 is the lowest of all, 255 the highest."""
    low = min(float(m.min()) for m in maps)
    high = max(float(m.max()) for m in maps)
    span = max(high - low, 1e-12)
    return [((m - low) * (255 / span)).round().to(torch.uint8).cpu().numpy() for m in maps]


# How natural is the result?


def run_numbers(bench: Workbench, values: Mapping[str, Any]) -> Iterator[str | float]:
    """The task `invert-numbers` of `dispatch`: the realism percentile of a result.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `request`, `latents`, `picture`, `job`.

    Yields:
        What is being done, between pieces that may be interrupted; at last the percentile.
    """
    check = cancel_check(bench, values)
    state = _state(values["request"], values["latents"])
    generator, judge = bench.models.generator(state.generator), bench.models.backbone(JUDGE)
    yardstick = yield from _told(
        realism_of(bench, generator, state, check),
        lambda done: f"Learning what is natural: {done} pictures so far.",
    )
    with torch.inference_mode():
        image = as_images(values["picture"], generator.device)
        features = patch_features(judge, image).mean((-2, -1))
        latents = torch.from_numpy(state.latents.values).to(generator.device)
        yield float(yardstick.percentile(latents, features)[0])


_WHAT: Mapping[str, Callable[[Workbench, Mapping[str, Any]], Iterator[Any]]] = {
    "invert": _invert,
    "prepare": _prepare,
    "heatmaps": _heatmaps,
    "compare": _compare,
}
