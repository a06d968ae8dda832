"""Matrix products a·bᵀ, as fast as the device has them. Knows shapes only."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

P = ParamSpec("P")
R = TypeVar("R")

# Products up to 16 MiB stay in the cache until they are added to the table, and the allocator
# hands the same pages out again instead of faulting new ones in.
_TILE = 2048
# torch sends smaller inputs of a convolution to a slow kernel of its own.
_MIN_CONVOLUTION = 1 << 15


def plain_tensors(function: Callable[P, R]) -> Callable[P, R]:
    """Run without gradients, and make tensors that may be changed in place anywhere.

    Sums that were made in somebody's inference mode could not be added to outside of it.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(mode=False), torch.no_grad():
            return function(*args, **kwargs)

    return run


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """a·bᵀ.

    Args:
        a: [rows, k].
        b: [cols, k], same dtype and device.

    Returns:
        [rows, cols], contiguous.
    """
    if not _by_convolution(a):
        return torch.mm(a, b.T)
    # torch's float32 mm on a CPU is MKL's, which runs at 205 GFLOP/s where oneDNN, reached through
    # a 1×1 convolution of channels-last pixels, runs at 440 (2 cores of an AMD EPYC of 2024). The
    # dilation does nothing to one cell, but without it torch shuns oneDNN on a single thread.
    rows, k = a.shape
    pixels = a.contiguous().view(1, rows, 1, k).permute(0, 3, 1, 2)
    product = functional.conv2d(pixels, b.contiguous().view(b.shape[0], k, 1, 1), dilation=2)
    return product.permute(0, 2, 3, 1).reshape(rows, b.shape[0])


def accumulate_(table: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a·bᵀ to a table, in place; which may be a part of a larger one.

    Args:
        table: [rows, cols], its rows contiguous.
        a: [rows, k].
        b: [cols, k].
    """
    if not _by_convolution(a):
        table.addmm_(a, b.T)
        return
    for top in range(0, table.shape[0], _TILE):
        rows = slice(top, top + _TILE)
        for left in range(0, table.shape[1], _TILE):
            cols = slice(left, left + _TILE)
            table[rows, cols].add_(multiply(a[rows], b[cols]))


def _by_convolution(a: Tensor) -> bool:
    return (
        a.device.type == "cpu"
        and a.dtype == torch.float32
        and a.numel() > _MIN_CONVOLUTION
        and torch.backends.mkldnn.is_available()
    )
