"""Blocks of images, their shuffle and their halves."""

from __future__ import annotations

import pytest

from rosetta_ui.matching.nulls import Blocks


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 10, 16, 17, 100, 128, 129])
def test_blocks_hold_every_image_once_in_order(n: int) -> None:
    blocks = Blocks(n)
    images = [i for block in range(blocks.count) for i in blocks.images(block)]
    assert images == list(range(n))
    assert all(i in blocks.images(blocks.of(i)) for i in images)


@pytest.mark.parametrize(("n", "lengths"), [(9, [9]), (17, [8, 9]), (10, [8, 2]), (16, [8, 8])])
def test_a_last_block_of_one_joins_the_one_before(n: int, lengths: list[int]) -> None:
    blocks = Blocks(n)
    assert [len(blocks.images(b)) for b in range(blocks.count)] == lengths
    assert blocks.longest == max(lengths)


@pytest.mark.parametrize("n", [2, 3, 8, 9, 10, 17, 64])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_shuffle_moves_every_image_inside_its_block(n: int, seed: int) -> None:
    blocks = Blocks(n, seed)
    for block in range(blocks.count):
        images, partners = blocks.images(block), blocks.partners(block)
        assert sorted(partners) == list(images)
        assert all(a != b for a, b in zip(images, partners, strict=True))


def test_the_shuffle_depends_on_the_seed_and_the_block_only() -> None:
    assert Blocks(64, 5).partners(3) == Blocks(640, 5).partners(3)
    assert len({Blocks(64, seed).partners(0) for seed in range(20)}) > 10
    first = Blocks(64, 0).partners(0)
    assert Blocks(64, 0).partners(1) != tuple(i + 8 for i in first)


def test_one_image_has_no_null() -> None:
    assert not Blocks(1).has_null
    with pytest.raises(ValueError, match="cannot be shuffled"):
        Blocks(1).partners(0)


def test_halves_are_blocks_from_four_blocks_on_and_images_below() -> None:
    assert [Blocks(32).half(i) for i in (0, 7, 8, 15, 16, 24)] == [0, 0, 1, 1, 0, 1]
    assert [Blocks(24).half(i) for i in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("image", "boundary"), [(-1, 0), (0, 0), (1, 8), (8, 8), (9, 17), (16, 17), (17, 17), (99, 17)]
)
def test_boundaries_are_where_blocks_begin_or_the_run_ends(image: int, boundary: int) -> None:
    assert Blocks(17).boundary_after(image) == boundary


def test_numbers_outside_the_run_are_refused() -> None:
    with pytest.raises(ValueError, match="outside a run of 8"):
        Blocks(8).of(8)
    with pytest.raises(ValueError, match="at least one image"):
        Blocks(0)
