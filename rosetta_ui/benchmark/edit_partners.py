"""Held-out partners: a judge's units that see what a generator's units see, found on few pictures.

A small match of its own, between the units that an edit moves and those of a backbone that took no
part: the centred correlation over 16 × 16 cells of some pictures, each unit's best partner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.judge import partner_corr
from rosetta_ui.editing.latents import PRIOR_SEED, natural_z
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.editing.targets import Affine
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import Unit

SIDE = 16
PICTURES = 24
KEPT = 64


@dataclass(frozen=True)
class Partners:
    """Units of a judge with what standardises them.

    Attributes:
        channels: layer → int64 [units].
        mean, deviation: layer → [units, 1, 1].
    """

    channels: Mapping[str, Tensor]
    mean: Mapping[str, Tensor]
    deviation: Mapping[str, Tensor]

    @classmethod
    def find(
        cls, generator: Generator, judge: Backbone, setup: EditSetup, units: Sequence[Unit]
    ) -> Partners:
        """The `KEPT` best matched units of the judge, in its later half."""
        chosen = setup.choose(generator, units)
        layers = judge.layers[len(judge.layers) // 2 :: 2]
        ours: list[Tensor] = []
        theirs: dict[str, list[Tensor]] = {spec.name: [] for spec in layers}
        with torch.inference_mode():
            for i in range(PICTURES):
                z = natural_z(generator, range(i, i + 1), PRIOR_SEED - 5)
                with tap(generator.net, chosen.layers) as maps:
                    image = generator.synthesise_from(z, "z", psi=generator.card.psi)
                grids = [_grid(m)[0] for m in chosen.standardise(maps).values()]
                ours.append(torch.cat(grids).flatten(1))
                with tap(judge.net, layers, stop=True) as seen:
                    judge.forward(judge.prepare(image))
                for name, each in seen.items():
                    theirs[name].append(each[0])
        anchors = _standard(torch.stack(ours, 1))
        found: list[tuple[float, str, int]] = []
        mean: dict[str, Tensor] = {}
        deviation: dict[str, Tensor] = {}
        for name, stack in theirs.items():
            whole = torch.stack(stack, 1)  # [units, pictures, h, w]
            mean[name] = whole.mean((1, 2, 3)).clone()
            deviation[name] = whole.std((1, 2, 3)).clamp_min(1e-6)
            flat = _grid(whole.transpose(0, 1)).transpose(0, 1).flatten(2)
            best = (anchors @ _standard(flat).T).amax(0) / anchors.shape[1]
            found += [(float(r), name, c) for c, r in enumerate(best.tolist())]
        found.sort(reverse=True)
        kept: dict[str, list[int]] = {}
        for _, name, channel in found[:KEPT]:
            kept.setdefault(name, []).append(channel)
        channels = {name: torch.tensor(sorted(index)) for name, index in kept.items()}
        return cls(
            channels,
            {name: mean[name][index].view(-1, 1, 1) for name, index in channels.items()},
            {name: deviation[name][index].view(-1, 1, 1) for name, index in channels.items()},
        )

    def maps(self, judge: Backbone, images: Tensor) -> dict[str, Tensor]:
        """Standardised maps of the partners on pictures: layer → [n, units, h, w]."""
        layers = [spec for spec in judge.layers if spec.name in self.channels]
        with torch.inference_mode(), tap(judge.net, layers, stop=True) as seen:
            judge.forward(judge.prepare(images.clamp(-1, 1)))
        return {
            name: (seen[name][:, index] - self.mean[name]) / self.deviation[name]
            for name, index in self.channels.items()
        }

    def corr(self, judge: Backbone, before: Tensor, after: Tensor, affine: Affine) -> Tensor:
        """`partner_corr` of edited pictures: [n]."""
        return partner_corr(self.maps(judge, before), self.maps(judge, after), affine)


def _grid(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def _standard(values: Tensor) -> Tensor:
    """[units, pictures, cells] → [units, pictures · cells], each place's own mean removed."""
    centred = (values - values.mean(1, keepdim=True)).flatten(1)
    return (centred - centred.mean(1, keepdim=True)) / centred.std(1, keepdim=True).clamp_min(1e-6)
