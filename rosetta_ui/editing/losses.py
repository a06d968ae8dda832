"""How well the maps of a picture agree with a target. Knows maps, no model and no optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import LayerSpec, Unit


@dataclass(frozen=True)
class ChosenUnits:
    """Units of one model, grouped by layer, with what standardises their maps.

    Attributes:
        layers: the layers that hold chosen units, in the order they run.
        channels: layer → int64 [units].
        mean, deviation: layer → [units, 1, 1], over the data set.
    """

    layers: tuple[LayerSpec, ...]
    channels: Mapping[str, Tensor]
    mean: Mapping[str, Tensor]
    deviation: Mapping[str, Tensor]

    @classmethod
    def choose(
        cls,
        layers: Sequence[LayerSpec],
        units: Sequence[Unit],
        mean: Mapping[str, Tensor],
        deviation: Mapping[str, Tensor],
    ) -> ChosenUnits:
        """Group units by layer; units that never vary are left out, as they say nothing.

        Args:
            layers: every layer of the model, in the order they run.
            units: what is chosen, in any order; doubles count once.
            mean: layer → [channels], over the data set.
            deviation: likewise.

        Raises:
            BadRequestError: nothing is chosen, or nothing that varies.
        """
        wanted: dict[str, set[int]] = {}
        for unit in units:
            if deviation[unit.layer][unit.channel] > 0:
                wanted.setdefault(unit.layer, set()).add(unit.channel)
        if not wanted:
            raise BadRequestError("No neuron is chosen.", "Choose at least one that varies.")
        kept = tuple(spec for spec in layers if spec.name in wanted)
        channels = {spec.name: torch.tensor(sorted(wanted[spec.name])) for spec in kept}
        return cls(
            kept,
            channels,
            {name: mean[name][index].view(-1, 1, 1) for name, index in channels.items()},
            {name: deviation[name][index].view(-1, 1, 1) for name, index in channels.items()},
        )

    def __len__(self) -> int:
        return sum(len(index) for index in self.channels.values())

    def standardise(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pick the chosen channels and standardise them.

        Args:
            maps: layer → [n, channels, H, W] with every channel of the layer.

        Returns:
            Layer → [n, units, H, W].
        """
        standardised: dict[str, Tensor] = {}
        for name, index in self.channels.items():
            picked = maps[name].index_select(1, index.to(maps[name].device))
            mean, deviation = self.mean[name].to(picked), self.deviation[name].to(picked)
            standardised[name] = (picked - mean) / deviation
        return standardised


def correlation(maps: Tensor, target: Tensor, floor: float = 1e-6) -> Tensor:
    """Cosine over positions of each unit's map and its own target: [n, units].

    Args:
        maps: [n, units, H, W], standardised.
        target: [units, H, W] or [n, units, H, W], standardised the same way.
        floor: least norm a divisor may have, as a share of the number of positions' root; a map
            that is its mean everywhere then gives 0.

    Source: Dravid et al. 2023, edit loss. Differs: each target has its own norm (the published
    code divides every unit by the last one's) and both sides are standardised alike.
    """
    wanted = target if target.ndim == 4 else target[None]
    inner = (maps * wanted).sum((-2, -1))
    least = floor * (maps.shape[-1] * maps.shape[-2]) ** 0.5
    # Root of the clamped square: the gradient of a norm at exactly 0 is undefined.
    ours = maps.square().sum((-2, -1)).clamp_min(least**2).sqrt()
    theirs = wanted.square().sum((-2, -1)).clamp_min(least**2).sqrt()
    return inner / (ours * theirs)


def agreement(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Mean over every chosen unit of `correlation`: [n], 1 is perfect.

    One product and one sum a layer: no loop over units.
    """
    each = [correlation(maps[name], target) for name, target in targets.items()]
    return torch.cat(each, dim=1).mean(1)


def squared_error(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Mean over units and positions of the squared difference, in deviations: [n].

    Correlation cannot see a map's strength; edits that scale a unit are asked for in this.
    """
    each = [(maps[n] - t).square().mean((-2, -1)) for n, t in targets.items()]
    return torch.cat(each, dim=1).mean(1)
