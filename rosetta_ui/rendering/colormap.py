"""The one colour table of all heatmaps: dark violet through red and orange to pale yellow.

Even to the eye: neighbouring entries differ by the same amount in OKLab, and lightness only rises,
so it reads the same in grey and to colour-blind people. Knows numbers and colours only.

Source: OKLab and its matrices, Ottosson 2020 (https://bottosson.github.io/posts/oklab/).
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
from numpy.typing import NDArray

ENTRIES = 256

# The curve in OKLCh over t in [0, 1]: lightness and hue are straight, chroma is an arch.
_LIGHTNESS = (0.13, 0.97)
_HUE = (285.0, 465.0)  # degrees: violet, magenta, red, orange, yellow
# At the ends, and added in the middle: the whole curve stays displayable. With 0.17 the reds leave
# sRGB and clipping them draws a visible ring around every blob.
_CHROMA = (0.04, 0.125)

_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def oklab_to_rgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """OKLab [..., 3] as sRGB [..., 3]; inside [0, 1] where a screen can show it."""
    linear = ((lab @ _TO_LMS.T) ** 3) @ _TO_RGB.T
    curved = 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055
    return np.where(linear > 0.0031308, curved, 12.92 * linear)


def rgb_to_oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """SRGB [..., 3] in [0, 1] as OKLab [..., 3]."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    return np.cbrt(linear @ np.linalg.inv(_TO_RGB).T) @ np.linalg.inv(_TO_LMS).T


@cache
def table() -> NDArray[np.uint8]:
    """The colour table: uint8 [256, 3], entry 0 for the lowest value; read-only."""
    colours = np.rint(np.clip(oklab_to_rgb(even_curve(ENTRIES)), 0, 1) * 255).astype(np.uint8)
    colours.flags.writeable = False
    return colours


def even_curve(entries: int) -> NDArray[np.float64]:
    """Points of the curve in OKLab [entries, 3], at equal distances along it."""
    fine = _curve(np.linspace(0, 1, 4096))
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    at = np.linspace(0, way[-1], entries)
    return np.stack([np.interp(at, way, fine[:, axis]) for axis in range(3)], -1)


def _curve(t: NDArray[np.float64]) -> NDArray[np.float64]:
    lightness = _LIGHTNESS[0] + (_LIGHTNESS[1] - _LIGHTNESS[0]) * t
    hue = np.deg2rad(_HUE[0] + (_HUE[1] - _HUE[0]) * t)
    chroma = _CHROMA[0] + _CHROMA[1] * np.sin(np.pi * t)
    direction = np.stack([np.zeros_like(t), np.cos(hue), np.sin(hue)], -1)
    base = np.stack([lightness, np.zeros_like(t), np.zeros_like(t)], -1)
    return base + direction * chroma[:, None]


def table_json() -> str:
    """The table for the page: a JSON list of 768 numbers, red, green, blue of entry 0, 1, ..."""
    return json.dumps(table().ravel().tolist(), separators=(",", ":"))


def css_gradient(stops: int = 9) -> str:
    """The table as a CSS gradient from left (low) to right (high), for legends."""
    chosen = table()[np.linspace(0, ENTRIES - 1, stops).round().astype(int)]
    colours = ", ".join(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in chosen)
    return f"linear-gradient(to right, {colours})"
