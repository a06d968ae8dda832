"""Maps of every unit of some models on one image, at their native size up to a limit.

The part of a view that needs the device; called through `dispatch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.matching.photos import Photo, PhotoSet
from rosetta_ui.matching.sources import GeneratedImages, ImageSource, PhotoImages
from rosetta_ui.probing.memory import out_of_memory
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec, MatchRequest

_MOST = 65504.0  # the largest float16


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[Mapping[str, NDArray[np.float16]]]:
    """The task `maps` of `dispatch`.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `request`, `image`, `size` (longest side of a map), `models` (which to look at; the
            generator is always asked) and, for photos, `photo` and `photo_size`.

    Yields:
        Once: model → float16 [cells], the maps of all units in flat order, one after the other.
    """
    request: MatchRequest = values["request"]
    with torch.inference_mode(), out_of_memory(bench.models.device, "one image"):
        images, maps = _source(bench, request, values).draw([values["image"]], lambda: None)
        for name in values["models"]:
            if name == request.generator:
                continue
            backbone = bench.models.backbone(name)
            card = backbone.card
            prepared = backbone.normalise(images.resized(card.image_size, card.interpolation))
            with tap(backbone.net, backbone.layers, stop=True) as found:
                backbone.forward(prepared)
            maps[name] = found
        layers = {name: _layers(bench, request, name) for name in values["models"]}
        yield {name: _flat(maps[name], specs, values["size"]) for name, specs in layers.items()}


def _source(bench: Workbench, request: MatchRequest, values: Mapping[str, Any]) -> ImageSource:
    if request.generator:
        generator = bench.models.generator(request.generator)
        return GeneratedImages(generator, request.seed, request.class_index, request.psi)
    photo: Photo = values["photo"]
    chosen = PhotoSet((photo,) * (values["image"] + 1))
    return PhotoImages(chosen, values["photo_size"], bench.models.device)


def _layers(bench: Workbench, request: MatchRequest, name: str) -> Sequence[LayerSpec]:
    if name == request.generator:
        return bench.models.generator(name).layers
    return bench.models.backbone(name).layers


def _flat(
    maps: Mapping[str, Tensor], layers: Sequence[LayerSpec], size: int
) -> NDArray[np.float16]:
    parts = [_reduced(maps[spec.name], size).flatten() for spec in layers]
    return torch.cat(parts).clamp(-_MOST, _MOST).to(torch.float16).cpu().numpy()


def _reduced(maps: Tensor, size: int) -> Tensor:
    height, width = maps.shape[-2:]
    if max(height, width) > size:
        small = (min(height, size), min(width, size))
        maps = functional.adaptive_avg_pool2d(maps.float(), small)
    return maps.float()
