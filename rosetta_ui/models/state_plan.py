"""Conversion as a table: which of our tensors is made of which published ones, and how.

Checked before anything is computed, so that a wrong file is refused with every missing and surplus
entry in view. Constants that the published networks multiply in at every call (learning-rate gains,
√2 of the activations, spectral norms, noise strengths) are multiplied in here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.foreign import take

Net = TypeVar("Net", bound=nn.Module)

Plan = dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]]
"""Our key → (function, published keys that are its arguments)."""


def keep(tensor: Tensor) -> Tensor:
    """The tensor as it is."""
    return tensor


def scaled(factor: float) -> Callable[[Tensor], Tensor]:
    """A function that multiplies by a constant."""

    def scale(tensor: Tensor) -> Tensor:
        return tensor * factor

    return scale


def without_spectral_norm(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A weight divided by uᵀWv, from the stored u and v; its first axis is u's."""
    flat = weight.flatten(1).double()
    return (weight.double() / (u.double() @ flat @ v.double())).float()


def follow(
    plan: Plan, state: Mapping[str, Tensor], ignored: Iterable[str], title: str
) -> dict[str, Tensor]:
    """Carry out a plan.

    Args:
        plan: what to make.
        state: the published tensors, of any floating type.
        ignored: published keys that are expected and not used.
        title: of the family, for the error.

    Returns:
        Our tensors: float32, contiguous, on the CPU, sharing no memory with each other.

    Raises:
        WeightsCorruptError: entries are missing or surplus; they are named.
    """
    sources = dict.fromkeys(key for _, keys in plan.values() for key in keys)
    take(state, [*sources, *(k for k in ignored if k in state and k not in sources)], title)
    return {
        name: function(*(_plain(state[key]) for key in keys))
        .to(torch.float32)
        .clone(memory_format=torch.contiguous_format)
        for name, (function, keys) in plan.items()
    }


def _plain(tensor: Tensor) -> Tensor:
    # Half-precision files are widened before the arithmetic, not after it.
    return tensor.detach().cpu().to(torch.float32)


def shape_of(state: Mapping[str, Tensor], key: str, title: str) -> tuple[int, ...]:
    """The shape of one entry that everything else depends on.

    Raises:
        WeightsCorruptError: there is no such entry.
    """
    if key not in state:
        raise WeightsCorruptError(
            f"The file is not a whole {title}: it lacks {key}.", "Use the file as it was published."
        )
    return tuple(state[key].shape)


def linear_gain(state: Mapping[str, Tensor], key: str, title: str) -> float:
    """1/√in of a fully connected weight [out, in]."""
    return 1 / math.sqrt(shape_of(state, key, title)[1])


def assemble(make: Callable[[], Net], tensors: Mapping[str, Tensor], title: str) -> Net:
    """Make a network without initialising it and give it its tensors.

    Args:
        make: builds the module; called with the meta device as default.
        tensors: exactly the entries of its state dict.
        title: of the model, for the error.

    Raises:
        WeightsCorruptError: entries are missing, surplus or of the wrong shape; they are named.
    """
    with torch.device("meta"):
        net = make()
    expected = net.state_dict()
    take(tensors, list(expected), title)
    for key, tensor in expected.items():
        if tensor.shape != tensors[key].shape:
            raise WeightsCorruptError(
                f"{title}: {key} is {_by(tensors[key])}, but the rest of the file asks for "
                f"{_by(tensor)}.",
                "Use the file as it was published.",
            )
    net.load_state_dict(dict(tensors), assign=True)
    for module in net.modules():
        if isinstance(module, Prepared):
            module.prepare()
    return net


def _by(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


class Prepared(nn.Module):
    """A module that computes something from its tensors once, after they are loaded."""

    def prepare(self) -> None:
        """Compute it."""
        raise NotImplementedError
