"""Taps: read module outputs for exactly as long as a `with` lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from rosetta_ui.errors import UnknownLayerError
from rosetta_ui.probing.grids import to_maps
from rosetta_ui.types import LayerSpec


class _ForwardStopped(Exception):  # noqa: N818 - control flow inside this module
    """Raised by the last tap to skip the rest of a forward pass."""


@contextmanager
def tap(
    net: nn.Module,
    layers: Sequence[LayerSpec],
    *,
    stop: bool = False,
    on_output: Callable[[LayerSpec], None] | None = None,
) -> Generator[dict[str, Tensor]]:
    """Collect the maps of some layers during forward passes of this thread inside the `with`.

    Another thread may run the same network meanwhile: its passes are not read here.

    Args:
        net: the network; layer names are module paths in it.
        layers: what to read. A layer that runs twice keeps its last output.
        stop: end the pass once every layer has been seen (the network then returns nothing, and the
            rest of the body after the call is skipped: read the maps after the `with`).
        on_output: called after each layer, for a cancel check; may raise.

    Yields:
        Layer name → [n, channels, h, w], filled as the network runs.

    Raises:
        UnknownLayerError: a layer is not in the network.
    """
    modules = dict(net.named_modules())
    if missing := [spec.path for spec in layers if spec.path not in modules]:
        raise UnknownLayerError(missing[0], layers[0].model, [n for n in modules if n])
    owner = threading.get_ident()
    maps: dict[str, Tensor] = {}
    handles: list[RemovableHandle] = []

    def hook(spec: LayerSpec) -> Callable[..., None]:
        def read(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if threading.get_ident() != owner:
                return
            maps[spec.name] = to_maps(output, spec)
            if on_output is not None:
                on_output(spec)
            if stop and len(maps) == len(layers):
                raise _ForwardStopped

        return read

    try:
        for spec in layers:
            handles.append(modules[spec.path].register_forward_hook(hook(spec)))
        yield maps
    except _ForwardStopped:
        pass
    finally:
        for handle in handles:
            handle.remove()
