"""Bilinear matrices, their transpose and second moments against torch's own interpolation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from rosetta_ui.matching.resample import (
    Reducer,
    SecondMoments,
    bilinear_matrix,
    position_weights,
)

CPU = torch.device("cpu")
SIDES = [(7, 16), (8, 16), (14, 16), (7, 8), (1, 5), (2, 13), (3, 13), (56, 256), (28, 148)]
REDUCTIONS = [
    ((256, 256), (56, 56)),
    ((148, 148), (28, 28)),
    ((84, 52), (14, 7)),
    ((36, 16), (7, 16)),
    ((13, 5), (3, 1)),
    ((16, 9), (16, 2)),
]


def upsampled(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize(("small", "large"), SIDES)
def test_the_matrix_upsamples_like_torch(small: int, large: int) -> None:
    values = torch.randn(1, small, dtype=torch.float64)
    expected = functional.interpolate(values[None], size=large, mode="linear")[0]
    assert torch.allclose(values @ bilinear_matrix(small, large).T, expected, atol=1e-14)


@pytest.mark.parametrize(("small", "large"), SIDES)
def test_rows_of_the_matrix_sum_to_one_and_have_two_entries_at_most(small: int, large: int) -> None:
    matrix = bilinear_matrix(small, large)
    assert torch.allclose(matrix.sum(1), torch.ones(large, dtype=torch.float64), atol=1e-15)
    assert int((matrix != 0).sum(1).max()) <= 2


def test_the_same_size_is_the_identity() -> None:
    assert torch.equal(bilinear_matrix(9, 9), torch.eye(9, dtype=torch.float64))


@pytest.mark.parametrize("sides", [(5, 4), (0, 3)])
def test_the_matrix_never_shrinks_a_map(sides: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot upsample"):
        bilinear_matrix(*sides)


@pytest.mark.parametrize(("size", "target"), REDUCTIONS)
def test_the_reduced_map_has_the_same_inner_products(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    large = torch.randn(3, *size, dtype=torch.float64)
    small = torch.randn(3, *target, dtype=torch.float64)
    reduced = Reducer(size, target, torch.float64, CPU).reduce(large)
    got = torch.einsum("mxy,kxy->mk", reduced, small)
    expected = torch.einsum("mxy,kxy->mk", large, upsampled(small, size))
    assert torch.allclose(got, expected, rtol=1e-13, atol=1e-11)


@pytest.mark.parametrize(("size", "target"), REDUCTIONS)
def test_a_reduced_map_does_not_depend_on_its_neighbours_in_memory(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    maps = torch.randn(4, *size)
    reducer = Reducer(size, target, torch.float32, CPU)
    together = reducer.reduce(maps)
    for i in range(4):
        alone = reducer.reduce(maps[i : i + 1])[0]
        assert torch.allclose(together[i], alone, atol=2e-5)


@pytest.mark.parametrize("size", [(7, 7), (8, 5), (1, 4), (3, 1), (1, 1), (2, 2)])
def test_second_moments_are_those_of_the_upsampled_map(size: tuple[int, int]) -> None:
    grids = (size, (16, 16), (size[0], 23), (56, 28))
    maps = torch.randn(5, *size, dtype=torch.float64)
    got = SecondMoments(size, grids, torch.float64, CPU).of(
        maps, torch.empty(maps.numel()).double()
    )
    expected = torch.stack([upsampled(maps, grid).square().sum((1, 2)) for grid in grids], 1)
    assert torch.allclose(got, expected, rtol=1e-13)


def test_second_moments_of_large_float32_maps_are_right_to_one_in_a_million() -> None:
    maps = torch.randn(3, 256, 256) + 1
    got = SecondMoments((256, 256), ((256, 256),), torch.float32, CPU).of(maps, torch.empty(0))
    assert torch.allclose(got[:, 0], maps.double().square().sum((1, 2)), rtol=1e-6)


def test_position_weights_give_the_sum_of_the_upsampled_map() -> None:
    maps = torch.randn(2, 7, 5, dtype=torch.float64)
    got = (maps * position_weights((7, 5), (16, 9))).sum((1, 2))
    assert torch.allclose(got, upsampled(maps, (16, 9)).sum((1, 2)), rtol=1e-13)
