"""Matched pairs that guide an inversion, as plain values. Numpy only, no torch, no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import EmptyMatchError
from rosetta_ui.types import Unit

MOST_PAIRS = 512
"""Of each backbone, the best-scoring ones: more cost time and are worse matches."""


@dataclass(frozen=True)
class Pair:
    """A generator's unit and the backbone's unit that is matched with it.

    Attributes:
        unit: the generator's.
        partner: the backbone's.
        score: of the match.
    """

    unit: Unit
    partner: Unit
    score: float


@dataclass(frozen=True)
class Guide:
    """Pairs, and what standardises the maps of both sides.

    Attributes:
        result: where they come from.
        pairs: all of one generator, highest score first.
        mean: model → layer → float32 [channels], over the images that were matched.
        deviation: likewise; 0 for units that never vary.
    """

    result: str
    pairs: tuple[Pair, ...]
    mean: Mapping[str, Mapping[str, NDArray[np.float32]]]
    deviation: Mapping[str, Mapping[str, NDArray[np.float32]]]

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the partners' models, in the order of their best pairs."""
        return tuple(dict.fromkeys(pair.partner.model for pair in self.pairs))


def chosen_pairs(
    found: Mapping[str, Sequence[Pair]],
    layers: Sequence[str],
    deviation: Mapping[str, Mapping[str, NDArray[np.float32]]],
) -> tuple[Pair, ...]:
    """The pairs that can guide, out of all that were found.

    Args:
        found: backbone → its pairs, highest score first.
        layers: of the generator, that may be asked for.
        deviation: model → layer → [channels].

    Returns:
        At most `MOST_PAIRS` of each backbone, highest score first.

    Raises:
        EmptyMatchError: none is left.
    """
    kept: list[Pair] = []
    for pairs in found.values():
        alive = [
            pair
            for pair in pairs
            if pair.unit.layer in layers
            and all(deviation[u.model][u.layer][u.channel] > 0 for u in (pair.unit, pair.partner))
        ]
        kept += alive[:MOST_PAIRS]
    if not kept:
        raise EmptyMatchError(
            "No matched pair of this result can guide an inversion.",
            "Choose another result, match more images, or set the neurons' weight to 0.",
        )
    return tuple(sorted(kept, key=lambda pair: -pair.score))
