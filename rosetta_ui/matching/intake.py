"""What happens to one layer's maps when they arrive: pilot off, moments taken, reduced, stored.

Works through the channels in pieces that stay in the cache, so that the large native maps are read
from memory once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.matching.layout import Size
from rosetta_ui.matching.resample import Reducer, SecondMoments
from rosetta_ui.types import LayerSpec

# Bytes of a piece: on a CPU pieces and what becomes of them fit in the last-level cache; on a GPU
# they only bound the memory, as few large kernels are faster.
_PIECE_BYTES = {"cpu": 8 << 20, "cuda": 512 << 20}


@dataclass(frozen=True)
class Part:
    """Images of a batch that belong to one half and lie side by side in the store.

    Attributes:
        half: 0 or 1; always 0 without halves.
        images: which of the batch.
        slot: where the first of them goes in the store.
        count: how many they are.
    """

    half: int
    images: slice
    slot: int
    count: int

    @property
    def slots(self) -> slice:
        """Where they go in the store."""
        return slice(self.slot, self.slot + self.count)


class Scratch:
    """Memory that every layer uses in turn: fresh large allocations would fault in their pages.

    Args:
        dtype, device: of the values in it.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self._flat: dict[str, Tensor] = {}

    def flat(self, name: str, length: int) -> Tensor:
        """[length] finite values, kept under a name; their content is left over."""
        held = self._flat.get(name)
        if held is None or held.numel() < length:
            held = torch.zeros(length, dtype=self.dtype, device=self.device)
            self._flat[name] = held
        return held[:length]


class LayerIntake:
    """Moments of one layer's units, and its maps reduced to every target.

    Everything is about the pilot maps, which are subtracted first: without them float32 is wrong by
    0.2 at means of 1000 deviations.

    Args:
        spec: the layer.
        grids: common grids to take second moments on, the layer's own first.
        targets: sizes to reduce to.
        scratch: shared by all layers; says dtype and device.
    """

    def __init__(
        self,
        spec: LayerSpec,
        grids: tuple[Size, ...],
        targets: tuple[Size, ...],
        scratch: Scratch,
    ) -> None:
        self.spec, self.grids, self.targets = spec, grids, targets
        dtype, device = scratch.dtype, scratch.device
        self._scratch = scratch
        self._loud = torch.finfo(dtype).max ** 0.75
        self._second = SecondMoments(spec.size, grids, dtype, device)
        self._reducers = {
            target: Reducer(spec.size, target, dtype, device)
            for target in targets
            if target != spec.size
        }

    def add(
        self,
        maps: Tensor,
        pilot: Tensor,
        parts: Sequence[Part],
        moments: Moments,
        stores: Mapping[Size, Tensor],
    ) -> None:
        """Count some images.

        Args:
            maps: [n, channels, h, w], any float dtype and strides.
            pilot: [channels, h or 1, w or 1], subtracted from every image.
            parts: where each image belongs; together all n.
            moments: added to.
            stores: target → [channels, slots, positions], written to.
        """
        n, channels, height, width = maps.shape
        bytes_a_channel = n * height * width * self._scratch.dtype.itemsize
        piece_bytes = _PIECE_BYTES.get(maps.device.type, _PIECE_BYTES["cuda"])
        step = max(1, piece_bytes // bytes_a_channel)
        if _are_tokens(maps):
            step = channels
        for start in range(0, channels, step):
            piece = slice(start, min(start + step, channels))
            shifted = self._shifted(maps[:, piece], pilot[piece])
            seconds = self._seconds(shifted)
            for part in parts:
                moments.add(part.half, piece, shifted[part.images], seconds[part.images])
            self._store(shifted, piece, parts, stores)

    def _shifted(self, maps: Tensor, pilot: Tensor) -> Tensor:
        """The maps about the pilot, contiguous, in scratch memory."""
        shifted = self._scratch.flat("maps", maps.numel()).view(maps.shape)
        if not _are_tokens(maps) or maps.dtype != shifted.dtype:
            return torch.sub(maps, pilot, out=shifted)
        for source, image in zip(maps, shifted, strict=True):
            # torch transposes matrices 7 times faster than it subtracts transposed ones.
            image.view(image.shape[0], -1).copy_(source.flatten(1))
        return shifted.sub_(pilot)

    def _seconds(self, shifted: Tensor) -> Tensor:
        """Second moments [n, channels, grids]; maps that are not finite are made so."""
        if shifted.device.type != "cpu":
            self._quieten(shifted)
        n, channels = shifted.shape[:2]
        flat = shifted.view(n * channels, *self.spec.size)
        products = self._scratch.flat("products", flat.numel())
        seconds = self._second.of(flat, products)
        if shifted.device.type == "cpu" and not bool(seconds.isfinite().all()):
            self._quieten(shifted)
            seconds = self._second.of(flat, products)
        return seconds.view(n, channels, -1)

    def _quieten(self, shifted: Tensor) -> None:
        # Weights of 0 do not silence a neighbour in memory that is NaN or infinite. Its square
        # still overflows, which marks its own unit as undefined.
        shifted.nan_to_num_(self._loud, self._loud, -self._loud)

    def _store(
        self,
        shifted: Tensor,
        piece: slice,
        parts: Sequence[Part],
        stores: Mapping[Size, Tensor],
    ) -> None:
        n, channels = shifted.shape[:2]
        flat = shifted.view(n * channels, *self.spec.size)
        for target in self.targets:
            reducer = self._reducers.get(target)
            reduced = (flat if reducer is None else reducer.reduce(flat)).view(n, channels, -1)
            for part in parts:
                stores[target][piece, part.slots] = reduced[part.images].transpose(0, 1)


def _are_tokens(maps: Tensor) -> bool:
    """Channels lie side by side in memory, and all of them are there."""
    n, channels, _, width = maps.shape
    return channels > 1 and maps.stride()[1:] == (1, width * channels, channels) and n > 0


class Moments:
    """Sums of one layer's units over images, about the pilot; they add up over workers.

    Attributes:
        sums: [halves, channels, h, w]: the summed maps; None where nobody needs them.
        seconds: [halves, channels, grids] float64: squares of the upsampled maps, summed over all
            positions of each common grid.
    """

    def __init__(
        self,
        spec: LayerSpec,
        n_grids: int,
        halves: int,
        scratch: Scratch,
        *,
        with_sums: bool = True,
    ) -> None:
        device = scratch.device
        shape = (halves, spec.channels, *spec.size)
        self.sums = torch.zeros(shape, dtype=scratch.dtype, device=device) if with_sums else None
        self.seconds = torch.zeros(
            halves, spec.channels, n_grids, dtype=torch.float64, device=device
        )

    def add(self, half: int, piece: slice, maps: Tensor, seconds: Tensor) -> None:
        """Count [n, channels, h, w] maps of a piece of the channels and their second moments."""
        self.seconds[half, piece] += seconds.sum(0)
        if self.sums is not None:
            self.sums[half, piece] += maps[0] if maps.shape[0] == 1 else maps.sum(0)

    def clear(self) -> None:
        """Forget every image."""
        self.seconds.zero_()
        if self.sums is not None:
            self.sums.zero_()


def pilot_maps(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """The mean map of every unit over some images, [channels, h, w].

    Where all images agree at a position it is exactly their value, so that whatever never changes
    becomes exactly 0.

    Args:
        maps: [n, channels, h, w].
        dtype: of the result.
    """
    maps = maps.to(dtype)
    low, high = torch.aminmax(maps, dim=0)
    return torch.where(low == high, low, maps.mean(0))
