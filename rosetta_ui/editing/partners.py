"""Held-out partners: a judge's units that see what a generator's units see, found on few pictures.

A small match of its own, between the units that edits of a generator usually move and those of a
backbone that takes no part in any edit: the centred correlation over 16 × 16 cells of some
pictures, each of the judge's units with its best partner.
"""

from __future__ import annotations

from collections.abc import Generator as Generator_
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.latents import PRIOR_SEED, natural_z
from rosetta_ui.editing.losses import correlation
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import Unit

SIDE = 16
PICTURES = 24
KEPT = 64
SEED = PRIOR_SEED - 5


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
        cls,
        generator: Generator,
        judge: Backbone,
        setup: EditSetup,
        units: Sequence[Unit],
        psi: float,
        class_index: int | None = None,
    ) -> Generator_[int, None, Partners]:
        """The `KEPT` best matched units of the judge, in its later half.

        Args:
            generator: draws.
            judge: the backbone that takes no part.
            setup: statistics of the generator's units.
            units: of the generator.
            psi: truncation.
            class_index: for class-conditional generators.

        Yields:
            How many pictures are done.
        """
        chosen = setup.choose(generator, units)
        layers = judge.layers[len(judge.layers) // 2 :: 2]
        ours: list[Tensor] = []
        theirs: dict[str, list[Tensor]] = {spec.name: [] for spec in layers}
        for i in range(PICTURES):
            yield i
            z = natural_z(generator, range(i, i + 1), SEED)
            with torch.inference_mode():
                with tap(generator.net, chosen.layers) as maps:
                    image = generator.synthesise_from(z, "z", class_index=class_index, psi=psi)
                grids = [_grid(m)[0] for m in chosen.standardise(maps).values()]
                with tap(judge.net, layers, stop=True) as seen:
                    judge.forward(judge.prepare(image))
            ours.append(torch.cat(grids).flatten(1))
            for name, each in seen.items():
                theirs[name].append(each[0])
        with torch.inference_mode():
            return cls._best(_standard(torch.stack(ours, 1)), theirs)

    @classmethod
    def _best(cls, anchors: Tensor, theirs: Mapping[str, Sequence[Tensor]]) -> Partners:
        found: list[tuple[float, str, int]] = []
        mean: dict[str, Tensor] = {}
        deviation: dict[str, Tensor] = {}
        for name, stack in theirs.items():
            whole = torch.stack(list(stack), 1)  # [units, pictures, h, w]
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
            name: (seen[name][:, index.to(seen[name].device)] - self.mean[name].to(seen[name]))
            / self.deviation[name].to(seen[name])
            for name, index in self.channels.items()
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As numpy arrays for a cache; `from_arrays` reads them back."""
        named = {"channels": self.channels, "mean": self.mean, "deviation": self.deviation}
        return {
            f"{part}/{layer}": np.array(value.cpu().numpy())
            for part, layers in named.items()
            for layer, value in layers.items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Partners:
        """Undo `arrays`."""
        parts: dict[str, dict[str, Tensor]] = {"channels": {}, "mean": {}, "deviation": {}}
        for name, value in arrays.items():
            part, _, layer = name.partition("/")
            parts[part][layer] = torch.from_numpy(np.array(value))
        return cls(**parts)


def partner_corr(
    wanted: Mapping[str, tuple[Tensor, Tensor]], edited: Mapping[str, Tensor]
) -> Tensor:
    """Agreement of partner units' maps with those that were asked for: [n].

    Args:
        wanted: layer → maps [n, units, h, w] and the cells that count [h, w], from `judge.asked`.
        edited: layer → [n, units, h, w], standardised over the data set.
    """
    scores = [
        correlation(edited[name] * inside, maps * inside) for name, (maps, inside) in wanted.items()
    ]
    return torch.cat(scores, dim=1).mean(1)


def _grid(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def _standard(values: Tensor) -> Tensor:
    """[units, pictures, cells] → [units, pictures · cells], each place's own mean removed."""
    centred = (values - values.mean(1, keepdim=True)).flatten(1)
    return (centred - centred.mean(1, keepdim=True)) / centred.std(1, keepdim=True).clamp_min(1e-6)
