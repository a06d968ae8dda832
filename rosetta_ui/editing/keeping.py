"""Strength edits leave the other units alone: what they saw, they should go on seeing.

Without that a face whose hair was taken away came back as another person: some units are asked for,
and hundreds were free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.editing.edit import Maps, Target
from rosetta_ui.editing.losses import ChosenUnits
from rosetta_ui.editing.targets import mask_of
from rosetta_ui.edits import Edit, Scale, only_strengths
from rosetta_ui.types import Unit


def kept_units(
    usual: Sequence[Unit], asked: Sequence[Unit], edits: Sequence[Edit]
) -> tuple[Unit, ...]:
    """The units that an edit should leave as they are: usual ones, where only strength changes."""
    if not only_strengths(edits):
        return ()
    return tuple(dict.fromkeys(unit for unit in usual if unit not in set(asked)))


@dataclass(frozen=True)
class Keeping:
    """Which of the chosen units are asked for, and how much the others weigh.

    Attributes:
        asked: layer → bool [units].
        weight: of the mean over the others, where that over the asked weighs 1.
    """

    asked: Mapping[str, Tensor]
    weight: float

    @classmethod
    def of(cls, chosen: ChosenUnits, asked: Sequence[Unit], weight: float) -> Keeping:
        """Tell the units that are asked for from the others."""
        known = {(unit.layer, unit.channel) for unit in asked}
        return cls(
            {
                name: torch.tensor([(name, c) in known for c in index.tolist()])
                for name, index in chosen.channels.items()
            },
            weight,
        )

    def targets(
        self, wanted: Mapping[str, Target], own: Maps, edits: Sequence[Edit]
    ) -> dict[str, Target]:
        """Targets in which only the asked units change.

        Inside the regions that change, the others are free: something else must be seen there.

        Args:
            wanted: targets in which all of them change.
            own: layer → [n, units, H, W] of the picture before.
            edits: strengths.
        """
        n_asked = sum(int(each.sum()) for each in self.asked.values())
        n_all = sum(len(each) for each in self.asked.values())
        # The loss is a mean over all units: scaled so that each group counts as a mean of its own.
        share = n_all / n_asked
        rest = self.weight * n_all / max(n_all - n_asked, 1)
        found: dict[str, Target] = {}
        for name, target in wanted.items():
            asked = self.asked[name].to(target.maps.device)[:, None, None]
            free = torch.ones_like(target.mask)
            for edit in edits:
                if isinstance(edit, Scale) and edit.region is not None:
                    size = (free.shape[-2], free.shape[-1])
                    free = free * ~mask_of(edit.region, size).to(free.device)
            mask = torch.where(asked, share * target.mask, rest * free)
            found[name] = Target(torch.where(asked, target.maps, own[name]), mask, target.strength)
        return found
