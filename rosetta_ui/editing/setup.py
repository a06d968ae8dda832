"""What edits of a generator need beside its weights: unit statistics, the prior of its latents.

Made once a generator, ψ and class from samples of its own; plain arrays, so that a cache can keep
them and every later edit, and every replay, stands on the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.latents import PRIOR_SEED, Prior, fit_prior, natural_z
from rosetta_ui.editing.losses import ChosenUnits
from rosetta_ui.edits import (
    Edit,
    EditSettings,
    Mirror,
    Paste,
    Shift,
    Zoom,
    only_moves,
    only_strengths,
)
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec, ModelCard, Space, Unit

FINEST = 64
"""Side of the finest maps that can be edited: finer ones cost as much as the whole picture."""

USUAL_SIDES = (16, 32)
"""Maps of 4 and 8 px are too coarse for a shift of 12 % (judge 0.61 against 0.83); finer ones hold
textures that keep the picture where it is."""


def editable(layers: Sequence[LayerSpec]) -> tuple[LayerSpec, ...]:
    """Layers whose units can be edited; all of them where none is that coarse."""
    return tuple(s for s in layers if max(s.size) <= FINEST) or tuple(layers)


def usual_units(layers: Sequence[LayerSpec]) -> tuple[Unit, ...]:
    """What an edit moves where nothing is chosen: every unit of the middle resolutions."""
    low, high = USUAL_SIDES
    middle = [spec for spec in layers if low <= max(spec.size) <= high]
    if not middle:
        at = len(layers) // 2
        middle = list(layers[max(at - 1, 0) : at + 1])
    return tuple(spec.unit(c) for spec in middle for c in range(spec.channels))


ZOOM_RESTARTS = 4
"""Starts of a zoom in z: the judge's verdict on 1.25 times goes from 0.836 to 0.860."""

KEEP = 5.0
"""Weight of the units that a change of strength should leave alone. With 0 a face whose hair was
taken away became another person's. With 1 the features of five pictures of the DCGAN outside the
region agree to 0.89, 0.93 and 0.85 with those before (eyes, mouth, hair), with 5 to 0.96, 0.95 and
0.91."""

STRENGTHS: Mapping[Space, EditSettings] = {
    # Outside the region the picture stays as it was (colours), and w near its start. With a pull
    # of 0.1 and no colours most of five portraits lay at the 96th to 100th percentile, ruined where
    # eyes or hair were taken away; now four lie at the 18th to 90th, and one that began at the
    # 93rd at the 95th to 99th.
    "w+": EditSettings("w+", 80, 0.05, pull=3.0, colours=20.0, keep=KEEP),
    "z": EditSettings("z", 150, 0.15, colours=50.0, keep=KEEP),
}


def usual_settings(card: ModelCard, edits: Sequence[Edit] = ()) -> EditSettings:
    """What works for a generator and an edit, by measurement (`bench edit`)."""
    settings = latent_settings(card, edits)
    if early_helps(card, edits):
        # The latent has nothing to add: 150 steps more take a shift of the DCGAN from 0.959 to
        # 0.961; 80 steps, 20 s, a zoom of MobileStyleGAN from 0.921 to 0.922.
        return replace(settings, early=True, steps=1)
    return settings


def early_helps(card: ModelCard, edits: Sequence[Edit]) -> bool:
    """Whether moving early maps does more for an edit than moving the latent.

    Styles leave the place of things to the maps, so that all moves go; what z alone draws bears
    whole cells only (the DCGAN zoomed by 1.25: 0.71, and 0.86 by its latent; mirrored: 0.73, and
    0.63 by its latent).
    """
    if not edits or not only_moves(edits):
        return False
    return "w+" in card.spaces or all(isinstance(edit, Shift | Mirror) for edit in edits)


def latent_settings(card: ModelCard, edits: Sequence[Edit] = ()) -> EditSettings:
    """The same where the latent alone moves."""
    if edits and only_strengths(edits):
        return STRENGTHS["w+" if "w+" in card.spaces else "z"]
    if "w+" in card.spaces:
        # A pull of 0.1 smears the eyes of shifted faces and leaves natural w (97th percentile and
        # beyond); a pasted box needs it.
        pull = 0.1 if edits and all(isinstance(e, Paste) for e in edits) else 0.6
        return EditSettings("w+", steps=80, learning_rate=0.05, pull=pull, colours=2.0)
    # A rate of 0.3 reaches no better loss, and another person's face; 0.05 is not there in time.
    # Colours bring the judge's verdict on a shift of 12 % from 0.79 to 0.82, and more of them take
    # it back; a wider norm brings as much, but lies at the 91st percentile of natural ones.
    restarts = ZOOM_RESTARTS if any(isinstance(edit, Zoom) for edit in edits) else 1
    return EditSettings("z", 150, 0.15, restarts, colours=1.0)


@dataclass(frozen=True)
class EditSetup:
    """Statistics of a generator's units and latents.

    Attributes:
        mean, deviation: layer → [channels] over natural samples, of every editable layer.
        prior: of w at this ψ, or of z.
    """

    mean: Mapping[str, Tensor]
    deviation: Mapping[str, Tensor]
    prior: Prior

    @classmethod
    def fit(
        cls,
        generator: Generator,
        psi: float,
        class_index: int | None,
        check: Callable[[], None] = lambda: None,
    ) -> EditSetup:
        """Look at natural samples.

        Args:
            generator: draws.
            psi: truncation.
            class_index: for class-conditional generators.
            check: called between samples; may raise.
        """
        layers = editable(generator.layers)
        # 256 pictures of a 64 px generator take a second; large maps have enough positions in 32.
        n = 256 if max(generator.card.image_size) <= 128 else 32
        total: dict[str, Tensor] = {}
        square: dict[str, Tensor] = {}
        for first in range(0, n, 8):
            check()
            z = natural_z(generator, range(first, first + 8), PRIOR_SEED - 1)
            with torch.inference_mode(), tap(generator.net, layers, stop=True) as maps:
                generator.synthesise_from(z, "z", class_index=class_index, psi=psi)
            for name, each in maps.items():
                values = each.double()
                total[name] = total.get(name, 0) + values.mean((0, 2, 3))
                square[name] = square.get(name, 0) + values.square().mean((0, 2, 3))
        batches = n // 8
        mean = {name: value / batches for name, value in total.items()}
        deviation = {
            name: (square[name] / batches - value.square()).clamp_min(0).sqrt()
            for name, value in mean.items()
        }
        # A unit that never varies has a deviation of rounding only.
        deviation = {
            name: torch.where(value > 1e-5 * value.max(), value, 0.0)
            for name, value in deviation.items()
        }
        space: Space = "w" if generator.n_ws else "z"
        prior = fit_prior(generator, space, psi=psi, class_index=class_index)
        return cls(_plain(mean), _plain(deviation), prior)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As numpy arrays for a cache; `from_arrays` reads them back."""
        named = {"mean": self.mean, "deviation": self.deviation}
        found = {
            f"{stat}/{layer}": value.cpu().numpy()
            for stat, layers in named.items()
            for layer, value in layers.items()
        }
        for part in ("mean", "basis", "deviation"):
            found[f"prior/{part}"] = getattr(self.prior, part).cpu().numpy()
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], device: torch.device) -> EditSetup:
        """Undo `arrays`."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in arrays.items():
            stat, _, layer = name.partition("/")
            parts.setdefault(stat, {})[layer] = torch.from_numpy(value.copy()).to(device)
        prior = parts["prior"]
        return cls(
            parts["mean"],
            parts["deviation"],
            Prior(prior["mean"], prior["basis"], prior["deviation"]),
        )

    def choose(self, generator: Generator, units: Sequence[Unit]) -> ChosenUnits:
        """The units of an edit with their statistics.

        Raises:
            BadRequestError: none is chosen, or one is not this generator's or too fine.
        """
        layers = {spec.name: spec for spec in editable(generator.layers)}
        for unit in units:
            spec = layers.get(unit.layer)
            if unit.model != generator.card.name or spec is None:
                raise BadRequestError(
                    f"{unit} cannot be edited in '{generator.card.name}'.",
                    f"Choose units of {', '.join(layers)}.",
                )
            if unit.channel >= spec.channels:
                raise BadRequestError(
                    f"{unit} does not exist.", f"{unit.layer} has {spec.channels} channels."
                )
        return ChosenUnits.choose(tuple(layers.values()), units, self.mean, self.deviation)


def _plain(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Out of inference mode, so that a gradient may pass through what they standardise.
    return {name: value.float().clone() for name, value in values.items()}
