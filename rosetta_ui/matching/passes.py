"""One pass over the images that correlates every pair of models at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rosetta_ui.matching.tables import PairTables
from rosetta_ui.types import LayerSpec


class CorrelationPass:
    """Data-set Pearson and position-centred correlation of all units of all pairs of models."""

    def __init__(  # noqa: PLR0913 - one call says everything the numbers depend on
        self,
        layers: Mapping[str, Sequence[LayerSpec]],
        pairs: Sequence[tuple[str, str]],
        *,
        n_images: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        null: bool = True,
        halves: bool = True,
        table_dir: Path | None = None,
    ) -> None:
        raise NotImplementedError

    def add(self, maps: Mapping[str, Mapping[str, Tensor]], first: int) -> None:
        """Count a batch: model → layer → [n, c, h, w] of the images first .. first + n - 1.

        The first batch also sets the pilot unless `load_pilot` did. Any batch size; images come in
        order inside a block of 8, blocks in any order.
        """
        raise NotImplementedError

    @property
    def count(self) -> int:
        """Images counted so far."""
        raise NotImplementedError

    @property
    def at_boundary(self) -> bool:
        """No block of 8 is incomplete, so `finish` and `add_state_` may be called."""
        raise NotImplementedError

    def boundary_after(self, image: int) -> int:
        """The first image number ≥ image at which a block ends (for shards, snapshots)."""
        raise NotImplementedError

    def pilot_state(self) -> dict[str, Tensor]:
        """The pilot means; give them to every other worker's `load_pilot` before its first add."""
        raise NotImplementedError

    def load_pilot(self, state: Mapping[str, Tensor]) -> None:
        """Use another worker's pilot."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Tensor]:
        """Everything, also the incomplete block: `load_state_dict` goes on exactly from here."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken."""
        raise NotImplementedError

    def tensors_to_reduce(self) -> dict[str, Tensor]:
        """The accumulators themselves (not copies), at a block boundary.

        Summed in place over the workers (all_reduce), every worker holds the total.
        """
        raise NotImplementedError

    def add_state_(self, state: Mapping[str, Tensor]) -> None:
        """Add another shard's `state_dict` (same layers, pairs, seed, pilot; at a boundary)."""
        raise NotImplementedError

    def merge(self, other: CorrelationPass) -> None:
        """Add another pass over other images."""
        raise NotImplementedError

    def finish(self) -> dict[tuple[str, str], PairTables]:
        """Tables of every pair; may be called at any block boundary, also in the middle of a run."""
        raise NotImplementedError
