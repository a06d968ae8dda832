"""StyleGAN2 from rosinality's or NVIDIA-ADA's files: one network, one set of layer names.

Units carry rosinality's names whatever the file: `convs.i.activate` after the activation and
`to_rgbs.i.conv` before bias and skip. Differs from the published match script, which passes 0.7 and
the mean w to parameters of other meaning, so that nothing is truncated and the noise is random:
here ψ truncates towards the mean w, and the noise maps are those of the file. Half precision is
never used, whatever a file asks for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.filters import one_axis
from rosetta_ui.models.foreign import ForeignGenerator, corrected_card
from rosetta_ui.models.moving import first_of_each_side
from rosetta_ui.models.state_plan import Plan, assemble, follow, keep, scaled, shape_of
from rosetta_ui.models.style_files import (
    as_rows,
    mean_w,
    plan_dense,
    plan_mapping,
    published_mapping,
)
from rosetta_ui.models.style_layers import SQRT2, StyleGenerator
from rosetta_ui.models.stylegan2_net import Shape, StyleGan2Net
from rosetta_ui.types import ModelCard

TITLE = "StyleGAN2 generator"
# Published networks clamp at this where their file does not say otherwise.
_CLAMP = 256.0


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> StyleGenerator:
    """Build the generator that the tensors describe.

    Args:
        card: its options hold the facts of `convert_state`; the option `noise` is "const" (the
            file's noise maps, the default) or "none", `truncation_cutoff` the number of rows of w+
            that ψ reaches.
        tensors: of `convert_state`.

    Raises:
        WeightsCorruptError: the tensors are not those of a StyleGAN2.
    """
    card = corrected_card(card, card.options)
    shape = Shape.of(card.options)
    noise = card.options.get("noise", "const") != "none"
    net = assemble(lambda: StyleGan2Net(shape, noise=noise), tensors, card.name)
    generator = StyleGenerator(card, net, tuple(shape.layers(card.name)), shape.n_ws)
    generator.movable = first_of_each_side(tuple(shape.whole(card.name)), shape.resolution)
    return generator


def convert_state(foreign: ForeignGenerator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Rename and fold the tensors of a published file.

    Args:
        foreign: of either layout.

    Returns:
        The tensors and facts that `load` takes. Where the file has no mean w (a rosinality file
        without `latent_avg`), it is the mean of 4,096 seeded w.

    Raises:
        WeightsCorruptError: the file is not a whole StyleGAN2; missing and surplus entries are
            named.
    """
    rosinality = "input.input" in foreign.state
    shape, plan = _rosinality(foreign) if rosinality else _ada(foreign)
    # ADA keeps a filter in layers that never resample too.
    idle = [f"synthesis.b{4 << i}.conv1.resample_filter" for i in range(shape.blocks + 1)]
    tensors = follow(plan, foreign.state, ["synthesis.b4.resample_filter", *idle], TITLE)
    if "w_avg" not in tensors:
        tensors["w_avg"] = mean_w(tensors, shape.z_size, shape.n_classes)
    assemble(lambda: StyleGan2Net(shape), tensors, TITLE)
    return tensors, {
        **asdict(shape),
        "image_size": [shape.resolution, shape.resolution],
        "latent_size": shape.z_size,
        "spaces": ["z", "w", "w+"],
        "units": sum(spec.channels for spec in shape.layers("")),
    }


def _rosinality(foreign: ForeignGenerator) -> tuple[Shape, Plan]:
    state = foreign.state
    n_convs = _count(state, r"convs\.(\d+)\.conv\.weight")
    n_mapping = _count(state, r"style\.(\d+)\.weight")
    plan: Plan = {"const": (keep, ("input.input",))}
    for i in range(n_mapping):
        plan_dense(plan, f"mapping.layers.{i}", f"style.{i + 1}", foreign, rate=0.01, gain=SQRT2)
    convs = ["conv1", *(f"convs.{i}" for i in range(n_convs))]
    for i, name in enumerate(convs):
        scale = 1 / math.sqrt(math.prod(shape_of(state, f"{name}.conv.weight", TITLE)[2:]))
        turn = _turned if i % 2 else keep
        plan[f"{name}.conv.weight"] = (_without_first(scale, turn), (f"{name}.conv.weight",))
        _plan_style(plan, f"{name}.conv", f"{name}.conv.modulation", foreign)
        plan[f"{name}.activate.noise"] = (_noise, (f"noises.noise_{i}", f"{name}.noise.weight"))
        plan[f"{name}.activate.bias"] = (scaled(SQRT2), (f"{name}.activate.bias",))
        if i % 2:
            plan[f"{name}.conv.filter"] = (_line, (f"{name}.conv.blur.kernel",))
    rgbs = ["to_rgb1", *(f"to_rgbs.{i}" for i in range(n_convs // 2))]
    for i, name in enumerate(rgbs):
        scale = 1 / math.sqrt(shape_of(state, f"{name}.conv.weight", TITLE)[2])
        plan[f"{name}.conv.weight"] = (_without_first(scale), (f"{name}.conv.weight",))
        plan_dense(plan, f"{name}.conv.affine", f"{name}.conv.modulation", foreign)
        plan[f"{name}.colour.bias"] = (_flat, (f"{name}.bias",))
        if i:
            plan[f"{name}.filter"] = (_line, (f"{name}.upsample.kernel",))
    if "latent_avg" in state:
        plan["w_avg"] = (as_rows, ("latent_avg",))
    weights = [shape_of(state, f"{name}.conv.weight", TITLE) for name in convs]
    mapping = [shape_of(state, f"style.{i + 1}.weight", TITLE) for i in range(n_mapping)]
    return Shape(
        channels=tuple((w[2], w[1]) for w in weights),
        colours=shape_of(state, "to_rgb1.conv.weight", TITLE)[1],
        z_size=shape_of(state, "style.1.weight", TITLE)[1],
        w_size=mapping[-1][0],
        n_classes=0,
        embed_size=0,
        mapping=tuple(m[0] for m in mapping),
        clamp=None,
        taps=shape_of(state, "convs.0.conv.blur.kernel", TITLE)[0],
    ), plan


def _ada(foreign: ForeignGenerator) -> tuple[Shape, Plan]:
    state = foreign.state
    n_blocks = _count(state, r"synthesis\.b(\d+)\.conv0\.weight")
    mapping = published_mapping(foreign, TITLE)
    plan: Plan = {"const": (_first, ("synthesis.b4.const",))}
    plan_mapping(plan, foreign)
    sides = [4 << i for i in range(n_blocks + 1)]
    convs = {"conv1": "synthesis.b4.conv1"}
    for i, side in enumerate(sides[1:]):
        convs[f"convs.{2 * i}"] = f"synthesis.b{side}.conv0"
        convs[f"convs.{2 * i + 1}"] = f"synthesis.b{side}.conv1"
    for i, (ours, theirs) in enumerate(convs.items()):
        plan[f"{ours}.conv.weight"] = (_turned if i % 2 else keep, (f"{theirs}.weight",))
        _plan_style(plan, f"{ours}.conv", f"{theirs}.affine", foreign)
        plan[f"{ours}.activate.noise"] = _ada_noise(foreign, theirs, 4 << (i + 1) // 2)
        plan[f"{ours}.activate.bias"] = (scaled(SQRT2), (f"{theirs}.bias",))
        if i % 2:
            plan[f"{ours}.conv.filter"] = (_line, (f"{theirs}.resample_filter",))
    for i, side in enumerate(sides):
        ours, theirs = f"to_rgbs.{i - 1}" if i else "to_rgb1", f"synthesis.b{side}.torgb"
        scale = 1 / math.sqrt(shape_of(state, f"{theirs}.weight", TITLE)[1])
        plan[f"{ours}.conv.weight"] = (scaled(scale), (f"{theirs}.weight",))
        plan_dense(plan, f"{ours}.conv.affine", f"{theirs}.affine", foreign)
        plan[f"{ours}.colour.bias"] = (keep, (f"{theirs}.bias",))
        if i:
            plan[f"{ours}.filter"] = (_line, (f"synthesis.b{side}.resample_filter",))
    weights = [shape_of(state, f"{theirs}.weight", TITLE) for theirs in convs.values()]
    clamp = foreign.attribute("synthesis.b4.conv1", "conv_clamp", _CLAMP)
    return Shape(
        channels=tuple((w[1], w[0]) for w in weights),
        colours=shape_of(state, "synthesis.b4.torgb.weight", TITLE)[0],
        clamp=None if clamp is None else float(clamp),
        taps=shape_of(state, "synthesis.b8.resample_filter", TITLE)[0],
        **mapping,
    ), plan


def _plan_style(plan: Plan, ours: str, affine: str, foreign: ForeignGenerator) -> None:
    """A demodulated convolution's style and gain; the gain is the activation's √2."""
    plan_dense(plan, f"{ours}.affine", affine, foreign)
    plan[f"{ours}.gain"] = (lambda: torch.tensor(SQRT2), ())


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many keys match."""
    return sum(re.fullmatch(pattern, key) is not None for key in state)


def _turned(weight: Tensor) -> Tensor:
    """[out, in, …] → [in, out, …]."""
    return weight.transpose(0, 1)


def _without_first(
    scale: float, turn: Callable[[Tensor], Tensor] = keep
) -> Callable[[Tensor], Tensor]:
    """A function that drops rosinality's leading axis and scales."""

    def drop(weight: Tensor) -> Tensor:
        return turn(weight[0] * scale)

    return drop


def _ada_noise(
    foreign: ForeignGenerator, module: str, side: int
) -> tuple[Callable[..., Tensor], tuple[str, ...]]:
    """A layer's noise map; zeros for files that were trained without noise."""
    if f"{module}.noise_const" not in foreign.state:
        return (lambda: torch.zeros(1, 1, side, side), ())
    return (_noise, (f"{module}.noise_const", f"{module}.noise_strength"))


def _noise(noise: Tensor, strength: Tensor) -> Tensor:
    """The noise map as it is added: times its strength and the activation's √2."""
    return (noise * strength * SQRT2).reshape(1, 1, *noise.shape[-2:])


def _line(square: Tensor) -> Tensor:
    """A stored square filter as one axis's, doubling (each axis's sum is two)."""
    line = one_axis(square)
    if line is None:
        raise WeightsCorruptError(f"The {TITLE} has a filter that is not one per axis.")
    return 2 * line


def _first(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(0)


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1)
