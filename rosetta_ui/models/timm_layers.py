"""Which layers of a network hold its units, found by one dry run and never by a model's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_ui.errors import NotSpatialError, UnknownLayerError
from rosetta_ui.types import LayerSpec


def find_layers(
    net: nn.Module, model: str, image_size: tuple[int, int], names: Sequence[str] = ()
) -> tuple[LayerSpec, ...]:
    """Run the network once on an empty image and describe its layers.

    Args:
        net: in eval mode.
        model: its name, for the specs.
        image_size: (height, width) of its input.
        names: module paths to use; without them the architecture decides.

    Raises:
        UnknownLayerError: a name is not a module of the network.
        NotSpatialError: a layer's output is not a map over positions.
    """
    modules = dict(net.named_modules())
    if not names:
        names = [n for n in modules if n.endswith("mlp.act")]
        names = names or [f["module"] for f in list(net.feature_info)[1:]]  # pyright: ignore
    if missing := [name for name in names if name not in modules]:
        raise UnknownLayerError(missing[0], model, [n for n in modules if n])
    outputs: dict[str, Any] = {}
    handles = [
        modules[name].register_forward_hook(
            lambda _m, _i, output, name=name: outputs.__setitem__(name, output)
        )
        for name in names
    ]
    try:
        with torch.no_grad():
            net(torch.zeros(1, 3, *image_size))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(_describe(net, model, name, outputs.get(name)) for name in names)


def _describe(net: nn.Module, model: str, name: str, output: Any) -> LayerSpec:
    if isinstance(output, Tensor) and output.ndim == 4:
        return LayerSpec(model, name, output.shape[1], (output.shape[2], output.shape[3]))
    if isinstance(output, Tensor) and output.ndim == 3:
        prefix = int(getattr(net, "num_prefix_tokens", 0))
        grid = tuple(net.patch_embed.grid_size)  # pyright: ignore
        return LayerSpec(model, name, output.shape[2], grid, "tokens", prefix)
    raise NotSpatialError(f"Layer '{name}' of {model} is not a map over positions.")
