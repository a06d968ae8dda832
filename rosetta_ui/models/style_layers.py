"""What the StyleGANs share: the mapping network, modulated convolutions, z to w+ with truncation.

Constants are folded into the tensors (see `state_plan`): a fully connected layer here is plain, and
"leaky ReLU times √2" is a plain leaky ReLU of inputs that were scaled by √2, which is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.state_plan import Prepared
from rosetta_ui.types import LayerSpec, ModelCard, Space

SQRT2 = 2**0.5
_EPSILON = 1e-8


def normalise(values: Tensor) -> Tensor:
    """Scale rows [n, k] to a mean square of one."""
    return values * torch.rsqrt(values.square().mean(1, keepdim=True) + _EPSILON)


class ClassTable(nn.Module):
    """One stored row a class, chosen by the largest entry of the condition.

    Args:
        rows: number of classes.
        size: entries of a row.
    """

    def __init__(self, rows: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, size))

    def forward(self, condition: Tensor) -> Tensor:
        """[n, rows] → [n, size]; a row of zeros chooses class 0."""
        return self.weight[condition.argmax(1)]


class Mapping(nn.Module):
    """z, and a class where there is one, to w.

    Args:
        z_size: entries of z.
        widths: outputs of the layers, the last being the entries of w.
        embed: condition [n, n_classes] → [n, embed_size], or None.
        embed_size: 0 without one.
    """

    def __init__(
        self, z_size: int, widths: Sequence[int], embed: nn.Module | None, embed_size: int = 0
    ) -> None:
        super().__init__()
        self.embed = embed
        inputs = (z_size + embed_size, *widths[:-1])
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(inputs, widths, strict=True))

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """From z [n, z_size] and condition [n, n_classes] to w [n, w_size]."""
        rows = normalise(z)
        if self.embed is not None:
            rows = torch.cat([rows, normalise(self.embed(condition))], 1)
        for layer in self.layers:
            rows = functional.leaky_relu(layer(rows), 0.2)
        return rows


class ModulatedConv(Prepared):
    """A convolution whose input channels are scaled by a style, and whose outputs are rescaled.

    The style scales the input and the demodulation the output, so that one convolution serves the
    whole batch. Scaling the weights instead needs one convolution a sample (`groups=n`): on one
    thread, at 16 to 256 px with 2 samples, it takes 0.96 to 1.3 times as long forwards and 1.7 to
    3.1 times backwards, where it also needs the gradient of every weight.

    Args:
        channels: (in, out).
        kernel: side of the square kernel.
        w_size: entries of w.
        demodulate: divide by the norm that the styled weights have and multiply by the gain.
        padding: cells around the input.
        bias: add one, in the same pass as the rescaling.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: int,
        w_size: int,
        *,
        demodulate: bool = True,
        padding: int = 0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        outer = channels if self.transposed else channels[::-1]
        self.weight = nn.Parameter(torch.empty(*outer, kernel, kernel))
        self.affine = nn.Linear(w_size, channels[0])
        self.bias = nn.Parameter(torch.empty(channels[1])) if bias else None
        self.padding = padding
        self.demodulates = demodulate
        self.register_buffer("energy", None, persistent=False)
        self.epsilon = _EPSILON
        if demodulate:
            self.register_buffer("gain", torch.empty(()))

    transposed = False
    """Whether the weight is stored [in, out, …], as a transposed convolution takes it."""

    gain: Tensor
    energy: Tensor | None

    def prepare(self) -> None:
        """Sum the squared weights over the kernel: what demodulation needs of them.

        The gain goes in here too: g·rsqrt(e + ε) is rsqrt(e/g² + ε/g²).
        """
        if self.demodulates:
            square = self.gain.square()
            energy = self.weight.detach().square().sum((2, 3)) / square
            self.energy = energy if self.transposed else energy.t().contiguous()
            self.epsilon = _EPSILON / float(square)

    def convolve(self, maps: Tensor) -> Tensor:
        """The convolution itself, on styled maps."""
        return functional.conv2d(maps, self.weight, padding=self.padding)

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """Maps [n, in, h, w] under styles w [n, w_size] → [n, out, h', w']."""
        style: Tensor = self.affine(w)
        maps = self.convolve(maps * style[:, :, None, None])
        bias = None if self.bias is None else self.bias[:, None, None]
        if self.energy is None:
            return maps if bias is None else maps + bias
        norm = torch.rsqrt(style.square() @ self.energy + self.epsilon)[:, :, None, None]
        return maps * norm if bias is None else torch.addcmul(bias, maps, norm)


class StyleNet(nn.Module):
    """A network that draws an image from w+, with the mapping that leads there.

    Args:
        mapping: z to w.
        w_avg: (rows, entries) of the mean w: one row, or one a class.
    """

    w_avg: Tensor

    def __init__(self, mapping: Mapping, w_avg: tuple[int, int]) -> None:
        super().__init__()
        self.mapping = mapping
        self.register_buffer("w_avg", torch.empty(w_avg))


class StyleGenerator(Generator):
    """A generator with a w space.

    Args:
        card: its facts; the option `truncation_cutoff` limits truncation to so many rows of w+.
        net: called with w+ [n, n_ws, w_size], returns images.
        layers: whose channels are units.
        n_ws: rows of a w+ latent.
    """

    net: StyleNet

    def __init__(
        self, card: ModelCard, net: StyleNet, layers: Sequence[LayerSpec], n_ws: int
    ) -> None:
        super().__init__(card, net)
        self.layers = tuple(layers)
        self.n_ws = n_ws
        self.w_size = int(net.w_avg.shape[1])
        self.truncation_cutoff: int | None = card.options.get("truncation_cutoff")

    def condition(self, class_index: int | None, n: int) -> Tensor | None:
        """The class of a batch as [n, n_classes], or None for an unconditional generator.

        Raises:
            BadRequestError: a class for an unconditional generator, or one out of range.
        """
        index = self.check_class(class_index)
        if index is None:
            return None
        rows = self.net.w_avg.new_zeros(n, self.card.n_classes)
        rows[:, index] = 1
        return rows

    def map(self, z: Tensor, condition: Tensor | None, psi: float = 1.0) -> Tensor:
        """Map z [n, latent] under a condition [n, n_classes] to truncated w+, differentiably."""
        ws = self.net.mapping(z, condition).unsqueeze(1).expand(-1, self.n_ws, -1)
        if psi == 1:
            return ws
        mean = self.net.w_avg
        if len(mean) > 1 and condition is not None:
            mean = mean[condition.argmax(1)]
        # As published: mean + ψ (w - mean), in this order of operations.
        near = mean.unsqueeze(1).lerp(ws, psi)
        cutoff = self.truncation_cutoff
        return near if cutoff is None else torch.cat([near[:, :cutoff], ws[:, cutoff:]], 1)

    def to_w(self, z: Tensor, *, class_index: int | None = None, psi: float = 1.0) -> Tensor:
        """Map z [n, latent] to truncated w+ [n, n_ws, w_size], differentiably."""
        return self.map(z, self.condition(class_index, len(z)), psi)

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw images from z [n, latent], w [n, w_size] or w+ [n, n_ws, w_size].

        Raises:
            BadRequestError: the values are not of that space's shape, or the class is not one.
        """
        self.check_class(class_index)
        shapes = {
            "z": (self.card.latent_size,),
            "w": (self.w_size,),
            "w+": (self.n_ws, self.w_size),
        }
        if tuple(values.shape[1:]) != shapes[space]:
            raise BadRequestError(
                f"'{self.card.name}' takes {space} of {shapes[space]} entries, "
                f"but {tuple(values.shape[1:])} were given.",
                "Use latents that were made for this generator.",
            )
        if space == "z":
            values = self.to_w(values, class_index=class_index, psi=psi)
        elif space == "w":
            values = values.unsqueeze(1).expand(-1, self.n_ws, -1)
        return self.net(values)
