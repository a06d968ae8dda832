"""A recipe on another machine: the same latent in other arithmetic is the same picture."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rosetta_ui.affine import shifted
from rosetta_ui.editing.session import drawn
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.registry import build_registry
from rosetta_ui.types import Latents


@pytest.mark.weights
@pytest.mark.parametrize("name", ["dcgan-digiface", "mobilestylegan"])
def test_in_float64_a_picture_is_within_two_levels(name: str, zoo: Any) -> None:
    registry = build_registry()
    card = registry.card(name)
    generator = registry.loader(name)(card, zoo.tensors(card))
    assert isinstance(generator, Generator)
    kind: Any = type(generator)

    class Precise(kind):
        """Further from float32 on any machine than two machines are from each other."""

        def synthesise_from(self, values: Tensor, space: str, **more: Any) -> Tensor:
            return super().synthesise_from(values.double(), space, **more)

    precise = copy.deepcopy(generator)
    precise.net.double()
    precise.__class__ = Precise
    start = generator.sample([0], seed=1)
    values = start.values
    if card.spaces[-1] == "w+":
        with torch.no_grad():
            values = generator.to_w(torch.from_numpy(values), psi=start.psi).numpy()
    for move in (shifted(0.0, 0.0), shifted(0.12, -0.06)):
        latents = Latents(card.spaces[-1], values, None, start.psi, move)
        one, other = drawn(generator, latents), drawn(precise, latents)
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 2
