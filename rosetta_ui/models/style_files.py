"""What the StyleGANs' published files share: fully connected layers and the mapping network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_ui.models.foreign import ForeignGenerator
from rosetta_ui.models.state_plan import Plan, scaled, shape_of
from rosetta_ui.models.style_layers import SQRT2
from rosetta_ui.models.style_layers import Mapping as StyleMapping

_FC = re.compile(r"mapping\.fc(\d+)\.weight")


def plan_dense(
    plan: Plan,
    ours: str,
    theirs: str,
    foreign: ForeignGenerator,
    *,
    rate: float = 1.0,
    gain: float = 1.0,
) -> None:
    """Fold the run-time gains of a fully connected layer into its weight and bias.

    Args:
        plan: extended.
        ours: path of our module.
        theirs: path of the published one.
        foreign: its attributes `weight_gain` and `bias_gain` are used where it has them.
        rate: the layer's learning-rate multiplier, for files without these attributes.
        gain: factor that the activation applies to its result (leaky ReLU: also to its input).
    """
    inputs = shape_of(foreign.state, f"{theirs}.weight", "generator")[1]
    weight = foreign.attribute(theirs, "weight_gain", rate / math.sqrt(inputs))
    bias = foreign.attribute(theirs, "bias_gain", rate)
    plan[f"{ours}.weight"] = (scaled(weight * gain), (f"{theirs}.weight",))
    plan[f"{ours}.bias"] = (scaled(bias * gain), (f"{theirs}.bias",))


def plan_mapping(plan: Plan, foreign: ForeignGenerator) -> None:
    """An official file's mapping network, with a linear embedding of the class if it has one."""
    for i in range(count_layers(foreign.state)):
        plan_dense(plan, f"mapping.layers.{i}", f"mapping.fc{i}", foreign, rate=0.01, gain=SQRT2)
    if "mapping.embed.bias" in foreign.state:
        plan_dense(plan, "mapping.embed", "mapping.embed", foreign)
    if "mapping.w_avg" in foreign.state and foreign.state["mapping.w_avg"].numel():
        plan["w_avg"] = (as_rows, ("mapping.w_avg",))


def as_rows(mean: Tensor) -> Tensor:
    """A mean w, or one a class, as [rows, w_size]."""
    return mean.reshape(-1, mean.shape[-1])


def published_mapping(foreign: ForeignGenerator, title: str) -> dict[str, Any]:
    """The sizes of an official mapping network.

    Returns:
        z_size, w_size, n_classes, embed_size and mapping, as the families' shapes name them.
    """
    state = foreign.state
    widths = [
        shape_of(state, f"mapping.fc{i}.weight", title) for i in range(max(count_layers(state), 1))
    ]
    embed_size, n_classes = (
        shape_of(state, "mapping.embed.weight", title) if "mapping.embed.bias" in state else (0, 0)
    )
    return {
        "z_size": widths[0][1] - embed_size,
        "w_size": widths[-1][0],
        "n_classes": n_classes,
        "embed_size": embed_size,
        "mapping": tuple(w[0] for w in widths),
    }


def count_layers(state: Mapping[str, Tensor]) -> int:
    """How many layers an official mapping network has."""
    return sum(_FC.fullmatch(key) is not None for key in state)


def mean_w(tensors: Mapping[str, Tensor], z_size: int, n_classes: int) -> Tensor:
    """The mean w [1, w_size] of 4,096 seeded z, for files that do not store it.

    Args:
        tensors: ours, with the whole mapping network.
        z_size: entries of z.
        n_classes: classes are drawn evenly; 0 for none.
    """
    widths = [
        t.shape[0] for k, t in tensors.items() if re.fullmatch(r"mapping\.layers\.\d+\.bias", k)
    ]
    embed = None
    if n_classes:
        embed = nn.Linear(n_classes, tensors["mapping.embed.bias"].shape[0])
    mapping = StyleMapping(z_size, widths, embed, 0 if embed is None else embed.out_features)
    prefix = "mapping."
    mapping.load_state_dict(
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    )
    z = torch.randn(4096, z_size, generator=torch.Generator().manual_seed(0))
    condition = torch.eye(n_classes)[torch.arange(4096) % n_classes] if n_classes else None
    with torch.inference_mode():
        return mapping(z, condition).mean(0, keepdim=True)
