"""Resampling against scipy's, and the fast filtered activation against the plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn
from torch import Tensor
from torch.nn import functional

from rosetta_ui.models import filtered
from rosetta_ui.models.doubling import doubled_kernel
from rosetta_ui.models.filtered import FilteredActivation
from rosetta_ui.models.filters import one_axis, resample

GEOMETRIES = [
    # side, up, down, pad: of StyleGAN3-r and t layers, with and without a change of size
    (36, 2, 2, (11, 10)),
    (38, 2, 2, (9, 8)),
    (36, 4, 2, (-2, -5)),
    (38, 4, 2, (-6, -9)),
    (84, 2, 2, (-9, -10)),
    (20, 2, 2, (25, 21)),
]


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def symmetric(taps: Tensor) -> Tensor:
    if taps.ndim == 1:
        return taps + taps.flip(0)
    taps = taps + taps.t()
    return taps + taps.flip(0, 1)


@pytest.mark.parametrize(("up", "down", "pad"), [(2, 1, (2, 1)), (1, 2, (0, 3)), (4, 2, (-3, 5))])
def test_resampling_equals_scipys_on_each_axis(up: int, down: int, pad: tuple[int, int]) -> None:
    maps, taps = seeded(1, 2, 13, 13), symmetric(seeded(6, seed=1))
    ours = resample(maps, taps, up=up, down=down, pad=pad, gain=3.0).numpy()
    grown = np.zeros((1, 2, 13 * up, 13 * up))
    grown[:, :, ::up, ::up] = maps.numpy()
    theirs = grown
    for axis in (2, 3):
        width = [(0, 0)] * 4
        width[axis] = (max(pad[0], 0), max(pad[1], 0))
        theirs = np.pad(theirs, width)
        first, last = max(-pad[0], 0), theirs.shape[axis] - max(-pad[1], 0)
        theirs = theirs.take(range(first, last), axis)
        full = upfirdn(taps.numpy(), theirs, axis=axis)
        theirs = full.take(range(5, full.shape[axis] - 5, down), axis)
    assert np.abs(ours - 3 * theirs).max() < 1e-12


def plain(maps: Tensor, module: FilteredActivation) -> Tensor:
    """The definition: zeros, filter, leaky ReLU, clamp, filter, drop."""
    up, clamp = module.shape.up, module.shape.clamp
    large = resample(maps, module.up_filter, up=up, down=1, pad=module.pad, gain=up**2)
    large = functional.leaky_relu(large, 0.2)
    if clamp is not None:
        large = large.clamp(-clamp, clamp)
    return resample(large, module.down_filter, up=1, down=module.shape.down, pad=(0, 0))


@pytest.mark.parametrize("kept", [0, 1 << 24])
@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("clamp", [None, 0.4])
@pytest.mark.parametrize(("side", "up", "down", "pad"), GEOMETRIES)
def test_the_filtered_activation_and_its_gradient_equal_the_definition(
    side: int,
    up: int,
    down: int,
    pad: tuple[int, int],
    clamp: float | None,
    radial: bool,
    kept: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filtered, "_CELLS", 1)
    monkeypatch.setattr(filtered, "_KEPT", kept)
    size = (side * up + sum(pad) - 6 * up + 1 - 6 * down) // down + 1
    module = FilteredActivation(
        side, (up, down), (6 * up, 6 * down), radial=radial, pad=pad, clamp=clamp
    )
    module.up_filter = symmetric(seeded(6 * up, seed=2))
    down_filter = seeded(6 * down, 6 * down, seed=3) if radial else seeded(6 * down, seed=3)
    module.down_filter = symmetric(down_filter)
    # 18 of them: more than go through at a time.
    maps = seeded(2, 9, side, side, seed=4).requires_grad_()
    ours, theirs = module(maps), plain(maps, module)
    assert ours.shape == (2, 9, size, size)
    assert float((ours - theirs).detach().abs().max()) < 1e-10 * float(theirs.detach().std())
    given = seeded(*ours.shape, seed=5)
    (our_gradient,) = torch.autograd.grad(ours, maps, given)
    (their_gradient,) = torch.autograd.grad(theirs, maps, given)
    assert float((our_gradient - their_gradient).abs().max()) < 1e-10 * float(their_gradient.std())


@pytest.mark.parametrize(("limit", "largest"), [(1 << 24, 3 * 82 * 82), (20_000, 3 * 36 * 36)])
def test_large_maps_are_kept_for_the_backward_pass_up_to_a_limit(
    limit: int, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtered, "_KEPT", limit)
    module = FilteredActivation(36, (2, 2), (12, 12), radial=False, pad=(11, 10), clamp=None)
    module.up_filter, module.down_filter = torch.ones(12), torch.ones(12)
    kept: list[int] = []

    def count(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    maps = torch.randn(1, 3, 36, 36, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        module(maps)
    assert max(kept) == largest


def test_a_stored_square_filter_is_one_axis_whatever_its_gain() -> None:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    found = one_axis(torch.outer(line, line) * 4)
    assert found is not None
    assert torch.allclose(found, line)
    assert one_axis(symmetric(seeded(4, 4)).float()) is None


def test_repeating_and_convolving_is_one_transposed_convolution() -> None:
    maps, weight = seeded(2, 3, 5, 5), seeded(4, 3, 3, 3, seed=1)
    repeated = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    theirs = functional.conv2d(repeated, weight, padding=1)
    ours = functional.conv_transpose2d(maps, doubled_kernel(weight), stride=2, padding=1)
    assert torch.allclose(ours, theirs)
