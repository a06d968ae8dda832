"""LPIPS itself, where a person has installed the `lpips` package and the weights it stands on.

Nothing is downloaded for it: without both there is no LPIPS column, and no other number gets its
name.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TRUNK = "alexnet-owt-7be5be79.pth"
"""What torchvision would download for it."""

Lpips = Callable[[Tensor, Tensor], float]
"""(images [1, 3, H, W] in [-1, 1], likewise) → LPIPS with AlexNet."""


def installed_lpips() -> Lpips | None:
    """LPIPS with AlexNet, or None where the package or the trunk's weights are not here."""
    if importlib.util.find_spec("lpips") is None:
        return None
    if not Path(torch.hub.get_dir(), "checkpoints", TRUNK).is_file():
        return None
    network: Any = importlib.import_module("lpips").LPIPS(net="alex", verbose=False).eval()

    def measure(first: Tensor, second: Tensor) -> float:
        with torch.no_grad():
            return float(network(first, second))

    return measure
