"""BigGAN-deep from its published `pytorch_model.bin` and `config.json`.

ψ is BigGAN's own truncation: it scales z where latents are drawn, as its authors do, and it selects
the norm statistics where images are drawn. At 1, the published setting, both do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.biggan_net import BigGanNet, Shape
from rosetta_ui.models.foreign import ForeignGenerator, corrected_card
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.moving import first_of_each_side
from rosetta_ui.models.state_plan import (
    Plan,
    assemble,
    follow,
    keep,
    shape_of,
    without_spectral_norm,
)
from rosetta_ui.types import Latents, ModelCard, Space

TITLE = "BigGAN-deep generator"


class BigGan(Generator):
    """A BigGAN-deep; its units are the outputs of every module with "conv" in its name.

    Args:
        card: its facts.
        net: with its weights.
        shape: of the net.
    """

    net: BigGanNet

    def __init__(self, card: ModelCard, net: BigGanNet, shape: Shape) -> None:
        super().__init__(card, net)
        self.layers = tuple(shape.layers(card.name))
        self.movable = first_of_each_side(tuple(shape.whole(card.name)), card.image_size[0])

    def sample(
        self,
        indices: Sequence[int],
        seed: int,
        class_index: int | None = None,
        psi: float | None = None,
    ) -> Latents:
        """Draw z for the images with these numbers, scaled by ψ.

        Raises:
            BadRequestError: a class out of range, or ψ outside 0 to 1.
        """
        drawn = super().sample(indices, seed, class_index, psi)
        self._check_psi(drawn.psi)
        return replace(drawn, values=(drawn.values * drawn.psi).astype(drawn.values.dtype))

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw images from z [n, latent]; ψ selects the norm statistics.

        Raises:
            BadRequestError: another space or size, a class out of range, or ψ outside 0 to 1.
        """
        index = self.check_class(class_index)
        if space != "z":
            raise BadRequestError(f"'{self.card.name}' has no {space} space.", "Use z.")
        if tuple(values.shape[1:]) != (self.card.latent_size,):
            raise BadRequestError(
                f"'{self.card.name}' takes z of {self.card.latent_size} entries, "
                f"but {tuple(values.shape[1:])} were given.",
                "Use latents that were made for this generator.",
            )
        self._check_psi(psi)
        classes = values.new_zeros(len(values), self.card.n_classes)
        classes[:, index or 0] = 1
        return self.net(self.net.condition(values, classes), psi)

    def _check_psi(self, psi: float) -> None:
        if not 0 <= psi <= 1:
            raise BadRequestError(
                f"'{self.card.name}' has norm statistics for ψ from 0 to 1, but ψ is {psi}.",
                "Give a ψ from 0 to 1.",
            )


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> BigGan:
    """Build the generator that the tensors describe.

    Args:
        card: its options hold the facts of `convert_state`.
        tensors: of `convert_state`.

    Raises:
        WeightsCorruptError: the tensors are not those of a BigGAN-deep.
    """
    card = corrected_card(card, card.options)
    shape = Shape.of(card.options)
    return BigGan(card, assemble(lambda: BigGanNet(shape), tensors, card.name), shape)


def convert_state(foreign: ForeignGenerator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Divide out the spectral norms and order `gen_z` for channels first.

    Args:
        foreign: its attributes of "" are the file's `config.json`. Without them every second block
            doubles the side and eps is 1e-4, as in all published files.

    Returns:
        The tensors and facts that `load` takes.

    Raises:
        WeightsCorruptError: the file is not a whole BigGAN-deep; missing and surplus entries are
            named.
    """
    shape = _shape(foreign)
    plan = _plan(foreign, shape)
    tensors = follow(plan, foreign.state, (), TITLE)
    assemble(lambda: BigGanNet(shape), tensors, TITLE)
    return tensors, {
        **asdict(shape),
        "image_size": [shape.resolution, shape.resolution],
        "latent_size": shape.z_size,
        "spaces": ["z"],
        "units": sum(spec.channels for spec in shape.layers("")),
    }


def _shape(foreign: ForeignGenerator) -> Shape:
    state = foreign.state
    numbers = [int(m[1]) for k in state if (m := re.match(r"generator\.layers\.(\d+)\.", k))]
    count = max(numbers, default=0) + 1
    attended = [i for i in range(count) if f"generator.layers.{i}.gamma" in state]
    rows: list[tuple[bool, int, int, int]] = []
    config: list[list[Any]] = foreign.attribute("", "layers", [])
    for i in (i for i in range(count) if i not in attended):
        name = f"generator.layers.{i}"
        middle, inputs = shape_of(state, f"{name}.conv_0.weight_orig", TITLE)[:2]
        out = shape_of(state, f"{name}.conv_3.weight_orig", TITLE)[0]
        up = bool(config[len(rows)][0]) if len(rows) < len(config) else len(rows) % 2 == 1
        rows.append((up, inputs, middle, out))
    embed_size, n_classes = shape_of(state, "embeddings.weight", TITLE)
    return Shape(
        blocks=tuple(rows),
        attention=attended[0] if attended else -1,
        z_size=shape_of(state, "generator.gen_z.weight_orig", TITLE)[1] - embed_size,
        n_classes=n_classes,
        embed_size=embed_size,
        n_stats=shape_of(state, "generator.bn.running_means", TITLE)[0],
        eps=float(foreign.attribute("", "eps", 1e-4)),
        colours=shape_of(state, "generator.conv_to_rgb.weight_orig", TITLE)[0],
    )


def _plan(foreign: ForeignGenerator, shape: Shape) -> Plan:
    with torch.device("meta"):
        ours = BigGanNet(shape).state_dict()
    plan: Plan = {}
    for key in ours:
        owner = key.removesuffix("weight")
        if key != owner and f"{owner}weight_orig" in foreign.state:
            normed = tuple(f"{owner}weight_{part}" for part in ("orig", "u", "v"))
            plan[key] = (without_spectral_norm, normed)
        else:
            plan[key] = (keep, (key,))
    channels = shape.blocks[0][1]
    weight, bias = "generator.gen_z.weight", "generator.gen_z.bias"
    parts = plan[weight][1]

    def first_weight(*normed: Tensor) -> Tensor:
        return _channels_first(without_spectral_norm(*normed), channels)

    def first_bias(rows: Tensor) -> Tensor:
        return _channels_first(rows, channels)

    plan[weight] = (first_weight, parts)
    plan[bias] = (first_bias, (bias,))
    return plan


def _channels_first(rows: Tensor, channels: int) -> Tensor:
    """Rows in (y, x, channel) order → (channel, y, x)."""
    return rows.view(16, channels, -1).transpose(0, 1).reshape(rows.shape)
