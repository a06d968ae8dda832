"""DCGAN generators: a chain of transposed convolutions from z to a small picture."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_ui.errors import BadRequestError, WeightsCorruptError
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.moving import first_of_each_side
from rosetta_ui.models.torch_files import read_state
from rosetta_ui.types import LayerSpec, ModelCard, Space

_NORM = ("weight", "bias", "running_mean", "running_var")


class DcganNet(nn.Module):
    """(ConvTranspose2d, BatchNorm2d, ReLU) several times, then ConvTranspose2d and tanh.

    The first convolution makes 4 × 4 of 1 × 1; each other doubles the side.

    Args:
        widths: channels from z to the picture, such as (100, 512, 256, 128, 64, 3).
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for at, (before, after) in enumerate(itertools.pairwise(widths)):
            stride, padding = (1, 0) if at == 0 else (2, 1)
            modules.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False))
            if at < len(widths) - 2:
                modules += [nn.BatchNorm2d(after), nn.ReLU()]
        self.main = nn.Sequential(*modules, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """[n, latent, 1, 1] → [n, 3, side, side] in [-1, 1]."""
        return self.main(z)


class Dcgan(Generator):
    """A DCGAN; its units are the outputs of its ReLUs: `main.2`, `main.5` and so on.

    Args:
        card: its facts.
        net: with its weights.
        widths: channels from z to the picture.
    """

    def __init__(self, card: ModelCard, net: DcganNet, widths: tuple[int, ...]) -> None:
        super().__init__(card, net)
        self._latent = widths[0]
        self.layers = tuple(
            LayerSpec(card.name, f"main.{3 * at + 2}", channels, (4 << at, 4 << at))
            for at, channels in enumerate(widths[1:-1])
        )
        self.movable = first_of_each_side(self.layers, card.image_size[0])

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw images from z [n, latent].

        Raises:
            BadRequestError: another space, a class, or a truncation: this network has none.
        """
        self.check_class(class_index)
        if space != "z":
            raise BadRequestError(f"'{self.card.name}' has no {space} space.", "Use z.")
        if psi != 1:
            raise BadRequestError(
                f"'{self.card.name}' has no mean latent to truncate towards, but ψ is {psi}.",
                "Leave ψ at 1.",
            )
        return self.net(values.reshape(len(values), self._latent, 1, 1))


def convert(
    files: Mapping[str, bytes], card: ModelCard
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the one file of a DCGAN and give its tensors the names of `DcganNet`.

    Two spellings are known: `main.0 … main.12`, and `convTr1 … convTr5` with `batchNorm1 … 4`.

    Raises:
        WeightsCorruptError: the file holds anything else.
    """
    ((name, content),) = files.items()
    state = read_state(content, name, inside="netG_state_dict")
    tensors = {
        _renamed(key): tensor.float()
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")
    }
    _widths(tensors, card)
    return tensors, {}


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> Dcgan:
    """Build a DCGAN of the widths that its weights have.

    Raises:
        WeightsCorruptError: the weights are not those of a DCGAN.
    """
    widths = _widths(tensors, card)
    with torch.device("meta"):
        net = DcganNet(widths)
    # What the files leave out is the count of training batches, which eval mode never reads.
    counts = {k: torch.zeros((), dtype=torch.int64) for k in net.state_dict() if "num_b" in k}
    net.load_state_dict({**tensors, **counts}, strict=True, assign=True)
    return Dcgan(card, net, widths)


def _renamed(key: str) -> str:
    found = re.fullmatch(r"(convTr|batchNorm)(\d)\.(\w+)", key)
    if found is None:
        return key
    kind, number, name = found.groups()
    return f"main.{3 * (int(number) - 1) + (kind == 'batchNorm')}.{name}"


def _widths(tensors: Mapping[str, Tensor], card: ModelCard) -> tuple[int, ...]:
    """Channels from z to the picture, once every tensor has been found as it must be."""
    convs = [f"main.{3 * at}.weight" for at in range(sum(t.ndim == 4 for t in tensors.values()))]
    if len(convs) < 2 or not all(name in tensors for name in convs):
        raise WeightsCorruptError(f"The weights of '{card.name}' are not those of a DCGAN.")
    shapes = [tuple(tensors[name].shape) for name in convs]
    widths = (shapes[0][0], *(shape[1] for shape in shapes))
    expected: dict[str, tuple[int, ...]] = {
        name: (before, after, 4, 4)
        for name, (before, after) in zip(convs, itertools.pairwise(widths), strict=True)
    }
    for at, channels in enumerate(widths[1:-1]):
        expected |= {f"main.{3 * at + 1}.{name}": (channels,) for name in _NORM}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise WeightsCorruptError(
                f"The weights of '{card.name}' are not those of a DCGAN: {name} is "
                f"{found.get(name, 'missing')}, expected {expected.get(name, 'nothing')}."
            )
    if widths[-1] != 3:
        raise WeightsCorruptError(f"'{card.name}' draws {widths[-1]} colours, not 3.")
    return widths
