"""The images that wait, reduced to every target, until they are multiplied into the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.matching.correlation import SlotRange
from rosetta_ui.matching.intake import Part
from rosetta_ui.matching.layout import ModelLayout, Size
from rosetta_ui.matching.nulls import Blocks


@dataclass
class _Filling:
    """Which blocks wait, and how many images of the last one are there."""

    blocks: range
    block: int
    filled: int


class Span:
    """One or more blocks of images, in slots sorted by half.

    Slots are sorted so that the images of either half lie side by side and are one product.

    Args:
        layouts: of every model.
        blocks: of the run.
        halves: whether images are split.
        n_blocks: how many blocks wait before a flush.
        allocate: makes a zeroed flat tensor of a length under a name.
    """

    def __init__(
        self,
        layouts: Mapping[str, ModelLayout],
        blocks: Blocks,
        *,
        halves: bool,
        n_blocks: int,
        allocate: Callable[[str, int], Tensor],
    ) -> None:
        self._layouts, self._blocks = layouts, blocks
        self._halves, self._n_blocks = halves, n_blocks
        slots = (n_blocks - 1) * 8 + blocks.longest
        self._flat = {
            (model, target): allocate(f"{i}-{j}", group.units * slots * group.positions)
            for i, (model, layout) in enumerate(layouts.items())
            for j, (target, group) in enumerate(layout.groups.items())
        }
        self._filling: _Filling | None = None
        self._slots: dict[int, int] = {}

    @property
    def is_empty(self) -> bool:
        """No image waits."""
        return self._filling is None

    @property
    def at_boundary(self) -> bool:
        """No block is incomplete."""
        now = self._filling
        return now is None or now.filled == len(self._blocks.images(now.block))

    @property
    def n_complete(self) -> int:
        """Complete blocks that wait."""
        now = self._filling
        return 0 if now is None else now.block - now.blocks.start + self.at_boundary

    @property
    def is_full(self) -> bool:
        """The last block of the span is complete."""
        now = self._filling
        return now is not None and self.n_complete == len(now.blocks)

    def accepts(self, image: int) -> bool:
        """Whether this image can be stored without a flush.

        Raises:
            ValueError: it leaves a gap in its block.
        """
        block = self._blocks.of(image)
        inside = image - self._blocks.images(block).start
        now = self._filling
        if now is not None and not self.at_boundary:
            expected = self._blocks.images(now.block).start + now.filled
            if image != expected:
                raise ValueError(f"image {expected} must come before image {image}")
            return True
        if inside:
            raise ValueError(f"a block starts at image {image - inside}, not at image {image}")
        return now is None or (block == now.block + 1 and block in now.blocks)

    def open(self, image: int) -> None:
        """Begin an empty span at the block of an image."""
        block = self._blocks.of(image)
        blocks = range(block, min(block + self._n_blocks, self._blocks.count))
        self._begin(blocks)
        self._filling = _Filling(blocks, block, 0)

    def _begin(self, blocks: range) -> None:
        images = [i for block in blocks for i in self._blocks.images(block)]
        ordered = sorted(images, key=lambda i: (self._half(i), i))
        self._slots = {image: slot for slot, image in enumerate(ordered)}

    def _half(self, image: int) -> int:
        return self._blocks.half(image) if self._halves else 0

    def take(self, first: int, n: int) -> list[Part]:
        """Give slots to n consecutive images of one block."""
        now = self._filling
        if now is None:
            raise ValueError("the span is not open")
        block = self._blocks.of(first)
        if block != now.block:
            now.block, now.filled = block, 0
        now.filled += n
        parts: list[Part] = []
        for half in (0, 1):
            mine = [i for i in range(n) if self._half(first + i) == half]
            if mine:
                # Halves are whole blocks or every other image.
                step = mine[1] - mine[0] if len(mine) > 1 else 1
                images = slice(mine[0], mine[-1] + 1, step)
                parts.append(Part(half, images, self._slots[first + mine[0]], len(mine)))
        return parts

    def stores(self, model: str) -> dict[Size, Tensor]:
        """Target → [units of the group, slots, positions]."""
        slots = len(self._slots)
        stores: dict[Size, Tensor] = {}
        for target, group in self._layouts[model].groups.items():
            shape = (group.units, slots, group.positions)
            flat = self._flat[model, target]
            stores[target] = flat[: group.units * slots * group.positions].view(shape)
        return stores

    def ranges(self, *, null: bool) -> list[SlotRange]:
        """What to multiply now: the complete blocks, by accumulator."""
        now = self._filling
        if now is None:
            return []
        complete = range(now.blocks.start, now.blocks.start + self.n_complete)
        ranges = [
            SlotRange(f"half{half}" if self._halves else "real", slots)
            for half in (0, 1)
            if (slots := self._slots_of(complete, half)) is not None
        ]
        if null and complete:
            ranges.extend(self._null_ranges(complete))
        return ranges

    def _slots_of(self, blocks: range, half: int) -> slice | None:
        """Slots of a half's images in some blocks, which lie side by side."""
        slots = [
            self._slots[i] for b in blocks for i in self._blocks.images(b) if self._half(i) == half
        ]
        return slice(min(slots), max(slots) + 1) if slots else None

    def _null_ranges(self, blocks: range) -> list[SlotRange]:
        row_of_col: dict[int, int] = {}
        for block in blocks:
            partners = self._blocks.partners(block)
            for image, partner in zip(self._blocks.images(block), partners, strict=True):
                row_of_col[self._slots[partner]] = self._slots[image]
        ranges: list[SlotRange] = []
        for half in (0, 1):
            slots = self._slots_of(blocks, half)
            if slots is not None:
                order = tuple(row_of_col[slot] for slot in range(slots.start, slots.stop))
                ranges.append(SlotRange("null", slots, order))
        return ranges

    def close(self) -> None:
        """Forget every image that waits."""
        self._filling = None

    def state(self) -> dict[str, Tensor]:
        """What waits, complete or not."""
        now = self._filling
        if now is None:
            return {}
        numbers = [now.blocks.start, now.blocks.stop, now.block, now.filled]
        state = {"filling": torch.tensor(numbers)}
        for i, model in enumerate(self._layouts):
            for j, store in enumerate(self.stores(model).values()):
                state[f"{i}.{j}"] = store
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state` was taken."""
        self._filling = None
        if "filling" not in state:
            return
        start, stop, block, filled = (int(x) for x in state["filling"])
        self._begin(range(start, stop))
        self._filling = _Filling(range(start, stop), block, filled)
        for i, model in enumerate(self._layouts):
            for j, store in enumerate(self.stores(model).values()):
                store.copy_(state[f"{i}.{j}"])
