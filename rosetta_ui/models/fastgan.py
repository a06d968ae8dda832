"""Projected GAN's FastGAN generator, written from its description.

Not verified: there is no recorded run of the original to compare with. Differs on purpose in one
thing: the noise of its blocks is fixed, so that the same latent gives the same picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.fastgan_net import FastGanNet, Shape
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
from rosetta_ui.types import ModelCard, Space

TITLE = "FastGAN generator"
_EPS = 1e-5
_NORM = ("weight", "bias", "running_mean", "running_var")


class FastGan(Generator):
    """A FastGAN; its units are the outputs of its gated linear units.

    Args:
        card: its facts.
        net: with its weights.
        shape: of the net.
    """

    def __init__(self, card: ModelCard, net: FastGanNet, shape: Shape) -> None:
        super().__init__(card, net)
        self.layers = tuple(shape.layers(card.name))
        self.movable = first_of_each_side(tuple(shape.whole(card.name)), card.image_size[0])

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw images from z [n, latent].

        Raises:
            BadRequestError: another space or size, a class, or a truncation: it has none of these.
        """
        self.check_class(class_index)
        if space != "z" or tuple(values.shape[1:]) != (self.card.latent_size,):
            raise BadRequestError(
                f"'{self.card.name}' takes z of {self.card.latent_size} entries, "
                f"but {space} of {tuple(values.shape[1:])} was given.",
                "Use latents that were made for this generator.",
            )
        if psi != 1:
            raise BadRequestError(
                f"'{self.card.name}' has no mean latent to truncate towards, but ψ is {psi}.",
                "Leave ψ at 1.",
            )
        return self.net(values)


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> FastGan:
    """Build the generator that the tensors describe.

    Args:
        card: its options hold the facts of `convert_state`.
        tensors: of `convert_state`.

    Raises:
        WeightsCorruptError: the tensors are not those of a FastGAN.
    """
    card = corrected_card(card, card.options)
    shape = Shape.of(card.options)
    return FastGan(card, assemble(lambda: FastGanNet(shape), tensors, card.name), shape)


def convert_state(foreign: ForeignGenerator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Fold the norms into the convolutions and draw the fixed noise.

    Args:
        foreign: of an official file.

    Returns:
        The tensors and facts that `load` takes.

    Raises:
        WeightsCorruptError: the file is not a whole unconditional FastGAN; missing and surplus
            entries are named.
    """
    state = foreign.state
    shape = _shape(state)
    plan: Plan = {}
    _plan_conv(plan, "synthesis.init.init.0", "synthesis.init.init.0", 1, transposed=True)
    for i, deep in enumerate(shape.deep):
        side = 8 << i
        block = f"synthesis.feat_{side}"
        _plan_conv(plan, f"{block}.1", f"{block}.1", 2 if deep else 1)
        if deep:
            _plan_conv(plan, f"{block}.5", f"{block}.5", 2)
            for k, place in enumerate((2, 6)):
                name = f"{block}.{place}"
                strength = (f"{name}.weight", *_norm_keys(f"{block}.{place + 1}"))
                plan[f"{name}.strength"] = (_noise_strength, strength)
                plan[f"{name}.noise"] = (_noise_map(side, k), ())
    for side, _ in shape.gates():
        for ours, theirs in (("first", 1), ("second", 3)):
            plan[f"synthesis.se_{side}.{ours}.weight"] = (
                without_spectral_norm,
                _spectral_keys(f"synthesis.se_{side}.main.{theirs}"),
            )
    plan["synthesis.to_big.weight"] = (without_spectral_norm, _spectral_keys("synthesis.to_big"))
    plan["synthesis.to_big.bias"] = (keep, ("synthesis.to_big.bias",))
    counted = [key for key in state if key.endswith(".num_batches_tracked")]
    tensors = follow(plan, state, [*counted, *_idle_gates(state, shape)], TITLE)
    assemble(lambda: FastGanNet(shape), tensors, TITLE)
    return tensors, {
        **asdict(shape),
        "image_size": [shape.resolution, shape.resolution],
        "latent_size": shape.z_size,
        "n_classes": 0,
        "spaces": ["z"],
        "units": sum(spec.channels for spec in shape.layers("")),
    }


def _shape(state: Mapping[str, Tensor]) -> Shape:
    sides = sorted(
        int(m[1]) for k in state if (m := re.fullmatch(r"synthesis\.feat_(\d+)\.1\.weight_orig", k))
    )
    # A file holds blocks up to 256 px even where the picture is smaller; the last width decides.
    first = shape_of(state, "synthesis.init.init.0.weight_orig", TITLE)
    colours, last = shape_of(state, "synthesis.to_big.weight_orig", TITLE)[:2]
    widths, deep = [first[1] // 2], list[bool]()
    for side in sides:
        block = f"synthesis.feat_{side}"
        widths.append(shape_of(state, f"{block}.1.weight_orig", TITLE)[0] // 2)
        deep.append(f"{block}.5.weight_orig" in state)
    while len(widths) > 2 and widths[-1] != last:
        widths.pop()
        deep.pop()
    return Shape(first[0], tuple(widths), tuple(deep), colours)


def _idle_gates(state: Mapping[str, Tensor], shape: Shape) -> list[str]:
    """Entries of blocks and gates above the picture's side, which the network never uses."""
    used = shape.resolution
    found = [(k, re.match(r"synthesis\.(?:feat|se)_(\d+)\.", k)) for k in state]
    return [key for key, match in found if match and int(match[1]) > used]


def _spectral_keys(module: str) -> tuple[str, str, str]:
    return (f"{module}.weight_orig", f"{module}.weight_u", f"{module}.weight_v")


def _norm_keys(module: str) -> tuple[str, ...]:
    return tuple(f"{module}.{part}" for part in _NORM)


def _plan_conv(
    plan: Plan, ours: str, theirs: str, norm_after: int, *, transposed: bool = False
) -> None:
    """A convolution under spectral norm, with the batch norm some places after it folded in."""
    root, _, place = theirs.rpartition(".")
    norm = _norm_keys(f"{root}.{int(place) + norm_after}")
    axis = 1 if transposed else 0

    def weight(orig: Tensor, u: Tensor, v: Tensor, *stats: Tensor) -> Tensor:
        plain = without_spectral_norm(orig.transpose(0, axis), u, v)
        return (plain * _factor(*stats)[:, None, None, None]).transpose(0, axis)

    plan[f"{ours}.weight"] = (weight, (*_spectral_keys(theirs), *norm))
    plan[f"{ours}.bias"] = (_offset, norm)


def _factor(weight: Tensor, _bias: Tensor, _mean: Tensor, var: Tensor) -> Tensor:
    return weight * torch.rsqrt(var + _EPS)


def _offset(weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return bias - mean * _factor(weight, bias, mean, var)


def _noise_strength(strength: Tensor, *stats: Tensor) -> Tensor:
    return strength * _factor(*stats)


def _noise_map(side: int, which: int) -> Callable[[], Tensor]:
    def draw() -> Tensor:
        seeded = torch.Generator().manual_seed(2 * side + which)
        return torch.randn(1, 1, side, side, generator=seeded)

    return draw
