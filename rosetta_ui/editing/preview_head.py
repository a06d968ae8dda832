"""A small picture from an early layer: a linear map from its channels to colours, fitted once.

For generators whose full picture is too slow to show while an edit runs. The fit's error is kept
beside it, so that a page can say how far to trust the preview.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.latents import PRIOR_SEED, natural_z
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec

SIDE = 64
FIT_PICTURES = 12
TEST_PICTURES = 4


@dataclass(frozen=True)
class PreviewHead:
    """Channels of one layer → colours.

    Attributes:
        layer: name of the layer.
        weight: [channels + 1, 3]; the last row is the offset.
        error: root mean square difference from reduced full pictures that it was not fitted on,
            where pictures are in [0, 1].
    """

    layer: str
    weight: Tensor
    error: float

    @classmethod
    def wanted(cls, generator: Generator) -> LayerSpec | None:
        """The layer to read, or None where the full picture is quick enough (up to 128 px)."""
        if max(generator.card.image_size) <= 128:
            return None
        fit = [spec for spec in generator.layers if max(spec.size) <= SIDE]
        return fit[-1] if fit else None

    @classmethod
    def fit(
        cls,
        generator: Generator,
        psi: float,
        class_index: int | None,
        check: Callable[[], None] = lambda: None,
    ) -> PreviewHead | None:
        """Least squares on pictures of the generator's own; None where none is wanted."""
        spec = cls.wanted(generator)
        if spec is None:
            return None
        inputs: list[Tensor] = []
        colours: list[Tensor] = []
        for i in range(FIT_PICTURES + TEST_PICTURES):
            check()
            z = natural_z(generator, range(i, i + 1), PRIOR_SEED - 2)
            with torch.inference_mode(), tap(generator.net, [spec]) as maps:
                image = generator.synthesise_from(z, "z", class_index=class_index, psi=psi)
            small = functional.interpolate(image, size=spec.size, mode="area")
            inputs.append(_rows(maps[spec.name]).double())
            colours.append(small.permute(0, 2, 3, 1).reshape(-1, 3).double())
        known, wanted = torch.cat(inputs[:FIT_PICTURES]), torch.cat(colours[:FIT_PICTURES])
        gram = known.T @ known
        # A little ridge: some channels are copies of others on so few pictures.
        gram += 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype).to(gram)
        weight = torch.linalg.solve(gram, known.T @ wanted)
        rest, truth = torch.cat(inputs[FIT_PICTURES:]), torch.cat(colours[FIT_PICTURES:])
        error = float((rest @ weight - truth).div(2).square().mean().sqrt())
        return cls(spec.name, weight.float().clone(), error)

    def colours(self, maps: Tensor) -> Tensor:
        """[n, channels, h, w] of the layer → [n, 3, h, w] in [-1, 1], differentiably."""
        flat = _rows(maps) @ self.weight
        return flat.view(len(maps), *maps.shape[-2:], 3).permute(0, 3, 1, 2)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As numpy arrays for a cache."""
        return {"weight": self.weight.cpu().numpy(), "error": np.array([self.error])}

    @classmethod
    def from_arrays(
        cls, layer: str, arrays: Mapping[str, NDArray[Any]], device: torch.device
    ) -> PreviewHead:
        """Undo `arrays`."""
        weight = torch.from_numpy(arrays["weight"].copy()).to(device)
        return cls(layer, weight, float(arrays["error"][0]))


def _rows(maps: Tensor) -> Tensor:
    """[n, c, h, w] → [n · h · w, c + 1], a one at the end."""
    flat = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    return functional.pad(flat, (0, 1), value=1.0)
