"""The synthesis network that StyleGAN3's and StyleGAN-XL's files share.

What a file stores about a layer is taken from there. A bare state dict has only names and filters;
then each layer's factors follow from the lengths of its filters and its size from its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.foreign import ForeignGenerator
from rosetta_ui.models.state_plan import Plan, assemble, follow, keep, scaled, shape_of
from rosetta_ui.models.style_files import mean_w, plan_dense
from rosetta_ui.models.style_layers import SQRT2
from rosetta_ui.models.stylegan3_net import LayerShape, Shape, StyleGan3Net

_LAYER = re.compile(r"synthesis\.(L(\d+)_(\d+)_\d+)\.weight")
# What the published networks use wherever their file does not say otherwise.
_TAPS_A_FACTOR, _MARGIN, _CLAMP, _SCALE, _BANDWIDTH = 6, 10, 256.0, 0.25, 2.0


def layer_shapes(foreign: ForeignGenerator, title: str) -> tuple[LayerShape, ...]:
    """The layers in the order of their numbers.

    Raises:
        WeightsCorruptError: there are none, or a layer is not whole.
    """
    found = [m for key in foreign.state if (m := _LAYER.fullmatch(key))]
    if not found:
        raise WeightsCorruptError(f"The file is not a {title}: it has no synthesis.L… layer.")
    shapes: list[LayerShape] = []
    before = input_side(foreign, title)
    matches = sorted(found, key=lambda m: int(m[2]))
    for match in matches:
        if match is not matches[-1]:
            shape_of(foreign.state, f"synthesis.{match[1]}.up_filter", title)
        shapes.append(_layer(foreign, match[1], before, int(match[3])))
        before = shapes[-1].side
    return tuple(shapes)


def _layer(foreign: ForeignGenerator, name: str, before: int, named_side: int) -> LayerShape:
    path = f"synthesis.{name}"
    outputs, inputs, kernel, _ = shape_of(foreign.state, f"{path}.weight", name)
    up_taps, down_taps, radial = 0, 0, False
    if f"{path}.up_filter" in foreign.state:
        up_taps = foreign.state[f"{path}.up_filter"].numel()
        (down_taps, *rest) = shape_of(foreign.state, f"{path}.down_filter", name)
        radial = bool(rest)
    up = int(foreign.attribute(path, "up_factor", max(up_taps // _TAPS_A_FACTOR, 1)))
    down = int(foreign.attribute(path, "down_factor", max(down_taps // _TAPS_A_FACTOR, 1)))
    side = _side(foreign.attribute(path, "out_size"), named_side)
    rate = foreign.attribute(path, "out_sampling_rate", _rate(side))
    grown = (side - 1) * down + 1 - (before + kernel - 1) * up
    total = grown + max(up_taps, 1) + max(down_taps, 1) - 2
    low = (total + up) // 2 if up_taps else 0
    pad = foreign.attribute(path, "padding", [low, total - low if up_taps else 0])
    made = (
        (before + kernel - 1) * up + sum(pad[:2]) - max(up_taps, 1) + 1 - max(down_taps, 1)
    ) // down + 1
    if made != side:
        raise WeightsCorruptError(
            f"Layer {name} of the file makes maps of {made} cells, but says {side}.",
            "Use the file as it was published.",
        )
    clamp = foreign.attribute(path, "conv_clamp", _CLAMP)
    return LayerShape(
        name=name,
        inputs=inputs,
        outputs=outputs,
        kernel=kernel,
        up=up,
        down=down,
        up_taps=up_taps,
        down_taps=down_taps,
        radial=radial,
        pad=(int(pad[0]), int(pad[1])),
        clamp=None if clamp is None else float(clamp),
        side=side,
        margin=round(side - rate) // 2,
    )


def input_side(foreign: ForeignGenerator, title: str) -> int:
    """Side of the input's maps, which the first layer keeps."""
    first = [m for key in foreign.state if (m := _LAYER.fullmatch(key)) and m[2] == "0"]
    if not first:
        raise WeightsCorruptError(f"The file is not a whole {title}: it lacks synthesis.L0.")
    return _side(foreign.attribute("synthesis.input", "size"), int(first[0][3]))


def _side(stored: Any, otherwise: int) -> int:
    """A stored [width, height], or the other."""
    return int(stored[0]) if stored else otherwise


def _rate(side: int) -> int:
    """The sampling rate of maps of this side: a power of two, with or without margins."""
    inner = side - 2 * _MARGIN
    return inner if inner > 0 and inner & (inner - 1) == 0 else side


def synthesis_shape(foreign: ForeignGenerator, title: str) -> dict[str, Any]:
    """The part of a `Shape` that the synthesis network decides."""
    side = input_side(foreign, title)
    return {
        "layers": layer_shapes(foreign, title),
        "side": side,
        "rate": float(foreign.attribute("synthesis.input", "sampling_rate", _rate(side))),
        "bandwidth": float(foreign.attribute("synthesis.input", "bandwidth", _BANDWIDTH)),
        "scale": float(foreign.attribute("synthesis", "output_scale", _SCALE)),
    }


def plan_synthesis(plan: Plan, foreign: ForeignGenerator, shape: Shape) -> None:
    """Fold the gains of the synthesis network: styles', activations' and running magnitudes'."""
    root = "synthesis.input"
    channels = shape.layers[0].inputs
    plan[f"{root}.weight"] = (scaled(1 / math.sqrt(channels)), (f"{root}.weight",))
    for part in ("freqs", "phases", "transform"):
        plan[f"{root}.{part}"] = (keep, (f"{root}.{part}",))
    plan_dense(plan, f"{root}.affine", f"{root}.affine", foreign)
    for layer in shape.layers:
        path = f"synthesis.{layer.name}"
        weight, magnitude = f"{path}.weight", f"{path}.magnitude_ema"
        plan_dense(plan, f"{path}.conv.affine", f"{path}.affine", foreign)
        if not layer.activates:
            size = layer.inputs * layer.kernel**2
            plan[f"{path}.conv.weight"] = (_by_magnitude(1 / math.sqrt(size)), (weight, magnitude))
            plan[f"{path}.conv.bias"] = (keep, (f"{path}.bias",))
            continue
        plan[f"{path}.conv.weight"] = (_normalised, (weight,))
        plan[f"{path}.conv.gain"] = (_gain, (magnitude,))
        plan[f"{path}.conv.bias"] = (scaled(SQRT2), (f"{path}.bias",))
        for part in ("up_filter", "down_filter"):
            plan[f"{path}.activation.{part}"] = (keep, (f"{path}.{part}",))


def finish(
    plan: Plan, foreign: ForeignGenerator, shape: Shape, title: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Carry out a whole plan, check the result and state its facts."""
    # Both are in files of generators without classes too, the first unused, the second empty.
    tensors = follow(plan, foreign.state, ("mapping.embed.weight", "mapping.w_avg"), title)
    if "w_avg" not in tensors:
        tensors["w_avg"] = mean_w(tensors, shape.z_size, shape.n_classes)
    assemble(lambda: StyleGan3Net(shape), tensors, title)
    return tensors, {
        **asdict(shape),
        "image_size": [shape.resolution, shape.resolution],
        "latent_size": shape.z_size,
        "spaces": ["z", "w", "w+"],
        "units": sum(spec.channels for spec in shape.units("")),
    }


def _by_magnitude(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that scales a weight and divides it by the root of a running magnitude."""

    def scale(weight: Tensor, magnitude: Tensor) -> Tensor:
        return weight * (factor * magnitude.rsqrt())

    return scale


def _normalised(weight: Tensor) -> Tensor:
    """Each output channel at mean square one: demodulation undoes any scale but its own epsilon."""
    return weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()


def _gain(magnitude: Tensor) -> Tensor:
    return SQRT2 * torch.rsqrt(magnitude.reshape(()))
