"""Doubling the side by repetition and then convolving, in one operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.models.state_plan import Prepared

_LEAST_SIDE = 8


class DoublingConv(Prepared):
    """A 3×3 convolution of maps that are first doubled by repetition, as one operation.

    Repeating a cell four times and convolving 3×3 is a transposed 4×4 convolution of the original:
    the same result from 4/9 of the multiplications. On two cores it takes 0.5 to 0.75 times as long
    from 16 px on, forwards and backwards, and as long at 8 px; at 4 px, where the kernel is most of
    what is read, it would take 1.6 times as long, and repetition is done as it is said.

    Args:
        inputs: channels in.
        outputs: channels out.
        side: of the maps that come in.
    """

    doubled: Tensor | None

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.one_operation = side >= _LEAST_SIDE
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.register_buffer("doubled", None, persistent=False)

    def prepare(self) -> None:
        """Make the 4×4 kernel: the 3×3 one convolved with a 2×2 block of ones."""
        if self.one_operation:
            self.doubled = doubled_kernel(self.weight.detach())

    def forward(self, maps: Tensor) -> Tensor:
        """[n, c, h, w] → [n, c, 2h, 2w]."""
        if self.doubled is None:
            repeated = functional.interpolate(maps, scale_factor=2.0, mode="nearest")
            return functional.conv2d(repeated, self.weight, self.bias, padding=1)
        return functional.conv_transpose2d(maps, self.doubled, self.bias, stride=2, padding=1)


def doubled_kernel(weight: Tensor) -> Tensor:
    """The transposed kernel of repetition and then a convolution.

    Args:
        weight: [out, in, 3, 3] of the convolution.

    Returns:
        [in, out, 4, 4], for a stride of 2.
    """
    flipped = weight.flip(2, 3).transpose(0, 1)
    kernel = weight.new_zeros(*flipped.shape[:2], 4, 4)
    for dy in (0, 1):
        for dx in (0, 1):
            kernel[:, :, dy : dy + 3, dx : dx + 3] += flipped
    return kernel
