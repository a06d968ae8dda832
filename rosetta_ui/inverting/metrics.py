"""How like two pictures are: PSNR, SSIM, and a backbone's feature distance. Knows no generator."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.session import as_picture
from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import InversionNumbers
from rosetta_ui.inverting.features import FeatureDistance
from rosetta_ui.models.backbone import resize

WINDOW = 11
SIGMA = 1.5
LEAST_COMPARED = 16
"""Side of the smallest pictures that are compared: SSIM's window has 11 pixels."""


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures.

    Args:
        first: HWC uint8.
        second: of the same shape.

    Raises:
        BadRequestError: the sizes differ.
    """
    _same(first, second)
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return math.inf if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Structural similarity, at most 1: the mean over colours and whole windows.

    Args:
        first: HWC uint8, at least 11 px in each direction.
        second: of the same shape.

    Raises:
        BadRequestError: the sizes differ, or a picture is smaller than the window.

    Source: Wang et al. 2004: Gaussian window of 11 px and deviation 1.5, K = (0.01, 0.03).
    """
    _same(first, second)
    if min(first.shape[:2]) < WINDOW:
        raise BadRequestError(
            f"Pictures of {first.shape[1]}×{first.shape[0]} pixels have no SSIM.",
            f"Its window needs {WINDOW}.",
        )
    x, y = (torch.from_numpy(p.astype(np.float64)).permute(2, 0, 1) for p in (first, second))
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((top / below).mean())


def compare(
    target: NDArray[np.uint8], picture: NDArray[np.uint8], distance: FeatureDistance
) -> InversionNumbers:
    """The numbers of two pictures; of two sizes both are brought to the smaller (at least 16 px).

    Args:
        target: HWC uint8.
        picture: likewise; square where the sizes differ.
        distance: the perceptual one.
    """
    ours, theirs = (as_images(p, distance.backbone.device) for p in (picture, target))
    with torch.no_grad():
        found = distance.distance(distance.features(ours), distance.features(theirs))
    first, second = target, picture
    if target.shape != picture.shape or min(target.shape[:2]) < WINDOW:
        side = max(min(target.shape[0], picture.shape[0]), LEAST_COMPARED)
        small = (resize(p, (side, side), "bilinear") for p in (theirs, ours))
        first, second = (as_picture(p) for p in small)
    return InversionNumbers(
        psnr(first, second), ssim(first, second), float(found[0]), distance.name
    )


def as_images(picture: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """HWC uint8 → [1, 3, H, W] in [-1, 1]."""
    # A copy: decoded pictures are read-only, which torch warns of.
    values = torch.from_numpy(np.array(picture)).to(device)
    return values.permute(2, 0, 1)[None].float() / 127.5 - 1


def _same(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
    if first.shape != second.shape:
        raise BadRequestError(
            f"The pictures have shapes {first.shape} and {second.shape}.",
            "Only pictures of one size can be compared.",
        )


def _blurred(planes: Tensor) -> Tensor:
    """Gaussian means of [3, H, W] over whole windows: [3, H − 10, W − 10]."""
    at = torch.arange(WINDOW, dtype=planes.dtype) - WINDOW // 2
    weights = torch.exp(-(at**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    rows = functional.conv2d(planes[:, None], weights.view(1, 1, -1, 1))
    return functional.conv2d(rows, weights.view(1, 1, 1, -1))[:, 0]
