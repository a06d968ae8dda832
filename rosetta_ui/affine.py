"""Affine maps of positions in a picture: frozen values, no torch, no gradio.

Positions are (x, y) as fractions of width and height, origin top left. A map says where the source
of a position lies, so a picture that is moved to the right has a source further left.
"""

from __future__ import annotations

Affine = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Rows of a 2×3 matrix that takes a position (x, y, 1) of the result to its source."""

STILL: Affine = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""Everything stays where it is."""


def then(first: Affine, second: Affine) -> Affine:
    """Move by the first map, and what comes of it by the second."""
    (a, b, c), (d, e, f) = first
    (p, q, r), (s, t, u) = second
    return (
        (a * p + b * s, a * q + b * t, a * r + b * u + c),
        (d * p + e * s, d * q + e * t, d * r + e * u + f),
    )


def undoing(affine: Affine) -> Affine:
    """The map that takes a move back.

    Raises:
        ValueError: it draws the picture together to a line, which nothing takes back.
    """
    (a, b, c), (d, e, f) = affine
    shown = area(affine)
    if shown == 0:
        raise ValueError(f"{affine} cannot be undone")
    p, q, s, t = e / shown, -b / shown, -d / shown, a / shown
    return (p, q, -p * c - q * f), (s, t, -s * c - t * f)


def area(affine: Affine) -> float:
    """How much of the picture the frame shows, 1 for all of it; negative where it is mirrored."""
    (a, b, _), (d, e, _) = affine
    return a * e - b * d


def between(one: Affine, other: Affine, share: float) -> Affine:
    """A map on the way: share 0 is `one`, 1 the other, each entry in proportion.

    There is none between a picture and its mirror image, and one to a picture on its head leads
    through a point: there it is the nearer of both.
    """
    (a, b, c), (d, e, f) = (
        tuple(x + share * (y - x) for x, y in zip(row, to, strict=True))
        for row, to in zip(one, other, strict=True)
    )
    way: Affine = (a, b, c), (d, e, f)
    least = min(abs(area(one)), abs(area(other)))
    if area(one) * area(other) < 0 or abs(area(way)) < least / 4:
        return one if share < 0.5 else other
    return way


def shifted(dx: float, dy: float) -> Affine:
    """A move to the right and down, by fractions of the width and height."""
    return (1.0, 0.0, -dx), (0.0, 1.0, -dy)


def is_shift(affine: Affine) -> bool:
    """Whether it moves everything by the same way."""
    (a, b, _), (d, e, _) = affine
    return (a, b, d, e) == (1.0, 0.0, 0.0, 1.0)
