"""A layer's output as maps: [n, channels, h, w]. Tokens and margins are declared, never guessed."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rosetta_ui.errors import NotSpatialError
from rosetta_ui.types import LayerSpec


def to_maps(output: Any, spec: LayerSpec) -> Tensor:
    """Read a module's output as its spec declares it.

    Args:
        output: conv [n, c, h, w], tokens [n, prefix + h*w, c] or channels_last [n, h, w, c].
        spec: the declaration; the margin is cropped from conv maps.

    Returns:
        [n, channels, h, w]; a view where that is possible.

    Raises:
        NotSpatialError: the output has another shape.
    """
    if not isinstance(output, Tensor):
        raise NotSpatialError(
            f"Layer '{spec.name}' of {spec.model} returns {type(output).__name__}, not one tensor."
        )
    height, width = spec.size
    if spec.kind == "tokens":
        expected = (spec.prefix_tokens + height * width, spec.channels)
        if output.ndim != 3 or tuple(output.shape[1:]) != expected:
            raise _not_spatial(spec, output, ("n", *expected))
        grid = output[:, spec.prefix_tokens :].transpose(1, 2)
        return grid.reshape(output.shape[0], spec.channels, height, width)
    maps = (
        output.permute(0, 3, 1, 2) if spec.kind == "channels_last" and output.ndim == 4 else output
    )
    full = (spec.channels, height + 2 * spec.margin, width + 2 * spec.margin)
    if maps.ndim != 4 or tuple(maps.shape[1:]) != full:
        raise _not_spatial(spec, output, ("n", *full))
    margin = spec.margin
    return maps[:, :, margin : margin + height, margin : margin + width] if margin else maps


def _not_spatial(spec: LayerSpec, output: Tensor, expected: tuple[object, ...]) -> NotSpatialError:
    want = "×".join(str(side) for side in expected)
    got = "×".join(map(str, output.shape))
    return NotSpatialError(
        f"Layer '{spec.name}' of {spec.model} gave {got}, but its card says {want}.",
        "Correct the layer's declaration or choose another layer.",
    )
