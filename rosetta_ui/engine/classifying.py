"""What a classifier says about a result's pictures; called through `dispatch`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.imagenet_classes import N_CLASSES
from rosetta_ui.probing.memory import out_of_memory

BATCH = 8


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[NDArray[np.float32]]:
    """The task `logits` of `dispatch`.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `pictures`, uint8 [n, h, w, 3], and `model`, a backbone's name.

    Yields:
        Once: float32 [n, 1000]; [n, 0] where the network has no head of ImageNet's classes.
    """
    backbone = bench.models.backbone(values["model"])
    pictures: NDArray[np.uint8] = values["pictures"]
    if not has_imagenet_head(backbone):
        yield np.zeros((len(pictures), 0), np.float32)
        return
    parts: list[NDArray[np.float32]] = []
    device = bench.models.device
    with torch.inference_mode(), out_of_memory(device, f"{BATCH} pictures"):
        for first in range(0, len(pictures), BATCH):
            some = torch.from_numpy(pictures[first : first + BATCH]).to(device)
            images = some.permute(0, 3, 1, 2).float() / 127.5 - 1
            parts.append(backbone.forward(backbone.prepare(images)).float().cpu().numpy())
    yield np.concatenate(parts)


def has_imagenet_head(backbone: Backbone) -> bool:
    """Whether a network's output are trained logits of ImageNet's 1,000 classes.

    Only a linear head of timm's counts: others give features, ratings or further sets of classes.
    """
    if "random_seed" in backbone.card.options:
        return False
    head = getattr(backbone.net, "get_classifier", lambda: None)()
    linear = isinstance(head, nn.Linear | nn.Conv2d)
    return linear and getattr(backbone.net, "num_classes", 0) == N_CLASSES
