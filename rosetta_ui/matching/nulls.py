"""Blocks of images, the shuffle inside each, and the two halves. Knows image numbers only.

All of it depends on the image number, the number of images and the seed, and on nothing else: not
on the batch size, the worker or where a run was resumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 8
MIN_BLOCKS_FOR_BLOCK_HALVES = 4


@dataclass(frozen=True)
class Blocks:
    """The images 0 .. n_images - 1 in blocks of 8 consecutive ones.

    A last block of one image joins the block before, which then holds 9: alone it could not be
    shuffled.

    Attributes:
        n_images: images of the whole run, over all workers.
        seed: of the shuffle.

    Raises:
        ValueError: there is no image.
    """

    n_images: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_images < 1:
            raise ValueError(f"a run needs at least one image, not {self.n_images}")

    @property
    def count(self) -> int:
        """Number of blocks."""
        full, rest = divmod(self.n_images, BLOCK)
        return max(1, full + (rest > 1))

    @property
    def longest(self) -> int:
        """Images in the longest block: 8, 9, or all of a shorter run."""
        return max(len(self.images(0)), len(self.images(self.count - 1)))

    @property
    def has_null(self) -> bool:
        """One image alone cannot be shuffled."""
        return self.n_images > 1

    def of(self, image: int) -> int:
        """The block that holds an image.

        Raises:
            ValueError: the run has no such image.
        """
        if not 0 <= image < self.n_images:
            raise ValueError(f"image {image} is outside a run of {self.n_images}")
        return min(image // BLOCK, self.count - 1)

    def images(self, block: int) -> range:
        """The image numbers of a block."""
        last = block == self.count - 1
        return range(block * BLOCK, self.n_images if last else (block + 1) * BLOCK)

    def boundary_after(self, image: int) -> int:
        """The first number at or after `image` at which a block begins or the run ends."""
        if image <= 0:
            return 0
        return self.images(self.of(min(image, self.n_images) - 1)).stop

    def half(self, image: int) -> int:
        """0 or 1: parity of the block, or of the image where there are fewer than 4 blocks."""
        if self.count < MIN_BLOCKS_FOR_BLOCK_HALVES:
            return image % 2
        return self.of(image) % 2

    def partners(self, block: int) -> tuple[int, ...]:
        """π of a block's images in order: the image of a row's model → that of a column's model.

        Uniform over the derangements of the block, so no image meets itself.

        Raises:
            ValueError: the block has one image only.
        """
        images = self.images(block)
        if len(images) < 2:
            raise ValueError("one image alone cannot be shuffled")
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, block))))
        numbers = np.arange(len(images))
        # A share of 1/e of all permutations moves everything, so this ends after three on average.
        while ((order := rng.permutation(numbers)) == numbers).any():
            pass
        return tuple(images.start + int(i) for i in order)
