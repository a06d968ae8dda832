"""A concept in words: where it fires, how much it covers, which colour it covers, its classes.

Everything is told from what a result keeps: small maps, preview pictures, and the logits that a
classifier gives to those pictures. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.matching.concepts import place_name
from rosetta_ui.types import ClassFavour, ConceptLabel

SIDE = 16
"""Cells of a small map; a picture is averaged over the same cells."""

SMALL, LARGE = 0.08, 0.22
"""Below the first share of the picture a concept is small, from the second on it is large.

They part the 28 concepts of the bundled faces into 8 small, 11 medium and 9 large ones.
"""

STEADY = 0.15
"""Largest deviation of its centre, in shares of the picture, of a concept that has one place."""

TOLD_APART = 0.05
"""Least distance in OKLab between what is covered and the rest; 0.02 is just seen side by side."""

PERMUTATIONS = 500
CLASS_Q = 0.01
"""Share of the shuffles that may reach further: 28 concepts in two classifiers are 56 questions, of
which 5 % would be answered by chance alone."""

LIKELY = 10
"""A class counts only if it is among the 10 likeliest of some picture: of the bundled faces, 69 and
60 do. Over all 1,000 the limit is 0.75 instead of 0.65, and what passes it are breeds of dogs where
the concept is hair; with these it is "wig" and "fur coat"."""

MOST_CLASSES = 3


def picture_cells(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Pictures averaged over 16 × 16 cells, in OKLab: float32 [n, 16, 16, 3].

    Args:
        pictures: HWC uint8.
    """
    return np.stack([_cells(_oklab(picture)) for picture in pictures])


def describe(maps: NDArray[np.uint8], cells: NDArray[np.float32]) -> ConceptLabel:
    """A unit in words.

    Args:
        maps: [n, 16, 16] of its best images.
        cells: [n, 16, 16, 3], the same images, from `picture_cells`.
    """
    peaks = _above_half(maps)
    covers = float(peaks.mean())
    centres = np.array([_centre(peak) for peak in peaks])
    steady = bool((centres.std(0) <= STEADY).all())
    x, y = (float(v) for v in centres.mean(0))
    size = "small" if covers < SMALL else "large" if covers >= LARGE else "medium"
    place = place_name(x, y) if steady else ""
    colour, against = _colour(peaks, cells)
    return ConceptLabel(place, size, covers, colour, against, x, y)


def favoured(
    activity: NDArray[np.floating],
    logits: NDArray[np.floating],
    backbone: str,
    names: Sequence[str],
) -> list[ClassFavour]:
    """The classes whose logit goes with a concept's activity over the images, best first.

    Only classes that the classifier itself proposes for some picture are looked at (`LIKELY`). So
    many find something by chance: only those above the highest r that shuffled images give (but for
    1 % of the shuffles) are named.

    Args:
        activity: [images], mean activation of the concept.
        logits: [images, classes].
        backbone: whose.
        names: of the classes.
    """
    likely = np.unique(np.argsort(-logits, axis=1)[:, :LIKELY])
    a = _standardised(activity.astype(np.float64))
    b = _standardised(logits[:, likely].astype(np.float64))
    if len(a) < 8 or not np.isfinite(a).all():
        return []
    r = a @ b / len(a)
    # The same shuffles for every concept, so that a regrouping does not change a neuron's classes.
    rng = np.random.Generator(np.random.PCG64(len(a)))
    shuffled = np.stack([a[rng.permutation(len(a))] for _ in range(PERMUTATIONS)])
    limit = float(np.quantile((shuffled @ b / len(a)).max(1), 1 - CLASS_Q))
    order = np.argsort(-r)[:MOST_CLASSES]
    return [
        ClassFavour(backbone, names[int(likely[at])].split(",")[0], float(r[at]), limit)
        for at in order
        if r[at] > limit
    ]


def activity_of(maps: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How active some units are in every image, together: [images].

    Args:
        maps: [units, images, 16, 16]; each unit counts on a scale of its own.
    """
    each = maps.astype(np.float64).mean((2, 3))
    return np.nan_to_num(np.stack([_standardised(one) for one in each])).mean(0)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero mean and unit deviation over the images; 0 where nothing varies."""
    centred = values - values.mean(0)
    deviation = centred.std(0)
    return centred / np.where(deviation > 0, deviation, np.inf)


def _above_half(maps: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Cells above half of the way from an image's lowest to its highest activation."""
    low = maps.min((1, 2), keepdims=True).astype(np.float32)
    high = maps.max((1, 2), keepdims=True).astype(np.float32)
    return (maps > (low + high) / 2) & (high > low)


def _centre(peak: NDArray[np.bool_]) -> tuple[float, float]:
    if not peak.any():
        return 0.5, 0.5
    rows, columns = np.nonzero(peak)
    return float(columns.mean() + 0.5) / SIDE, float(rows.mean() + 0.5) / SIDE


def _colour(peaks: NDArray[np.bool_], cells: NDArray[np.float32]) -> tuple[str, str]:
    """The colour under the maps, and how it differs from the rest; empty where it does not."""
    usable = [at for at, peak in enumerate(peaks) if peak.any() and not peak.all()]
    if not usable:
        return "", ""
    under = np.array([cells[at][peaks[at]].mean(0) for at in usable])
    rest = np.array([cells[at][~peaks[at]].mean(0) for at in usable])
    differences = under - rest
    mean = differences.mean(0)
    distance = float(np.linalg.norm(mean))
    # What holds in three quarters of the pictures is said of the concept.
    alike = float((differences @ mean > 0).mean()) if distance else 0.0
    if distance < TOLD_APART or alike < 0.75:
        return "", ""
    return colour_name(under.mean(0)), _difference(mean)


def _difference(mean: NDArray[np.floating]) -> str:
    if abs(mean[0]) >= float(np.hypot(mean[1], mean[2])):
        return "lighter than the rest" if mean[0] > 0 else "darker than the rest"
    return "of another hue than the rest"


_HUES = (
    (20.0, "pink"),
    (42.0, "red"),
    (78.0, "orange"),
    (115.0, "yellow"),
    (165.0, "green"),
    (220.0, "turquoise"),
    (285.0, "blue"),
    (325.0, "purple"),
    (361.0, "pink"),
)


def colour_name(lab: NDArray[np.floating]) -> str:
    """A colour of OKLab in one or two English words."""
    light, a, b = (float(v) for v in lab)
    chroma = float(np.hypot(a, b))
    if light < 0.22:
        return "black"
    if chroma < 0.025:
        names = ((0.35, "black"), (0.55, "dark grey"), (0.75, "grey"), (0.9, "light grey"))
        return next((name for limit, name in names if light < limit), "white")
    hue = float(np.degrees(np.arctan2(b, a))) % 360
    if 25 <= hue < 95 and chroma < (0.135 if light < 0.6 else 0.11):
        # Pale or dark oranges have names of their own: skin, wood and hair are none of "orange".
        return "dark brown" if light < 0.42 else "brown" if light < 0.62 else "beige"
    name = next(word for limit, word in _HUES if hue < limit)
    return f"dark {name}" if light < 0.42 else f"light {name}" if light > 0.82 else name


def _cells(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """[h, w, 3] averaged over 16 × 16 cells; smaller pictures are repeated first."""
    for axis in (0, 1):
        lab = lab.repeat(max(1, -(-SIDE // lab.shape[axis])), axis)
    rows, columns = (np.linspace(0, n, SIDE + 1).astype(int) for n in lab.shape[:2])
    summed = np.add.reduceat(np.add.reduceat(lab, rows[:-1], 0), columns[:-1], 1)
    counts = np.diff(rows)[:, None] * np.diff(columns)[None]
    return (summed / counts[..., None]).astype(np.float32)


def _oklab(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """SRGB to OKLab, [h, w, 3]."""
    linear = _LINEAR[picture]
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def _linear() -> NDArray[np.float32]:
    """The light of each of the 256 steps of sRGB."""
    steps = np.arange(256) / 255
    linear = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


_LINEAR = _linear()
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
"""Ottosson 2020, "A perceptual color space for image processing"."""
