"""Streamed moments equal numpy's over everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rosetta_ui.matching.statistics import UnitMoments
from rosetta_ui.types import LayerSpec

LAYERS = (LayerSpec("m", "a", 3, (4, 4)), LayerSpec("m", "b", 2, (6, 10)))


def data(n: int = 11) -> dict[str, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    a = torch.randn(n, 3, 4, 4, generator=stream).relu() * 3 + 100
    b = torch.randn(n, 2, 6, 10, generator=stream) ** 3
    b[:, 1] = 7.0
    return {"a": a, "b": b}


def reference(maps: dict[str, torch.Tensor]) -> np.ndarray:
    rows = []
    for tensor in maps.values():
        flat = tensor.double().transpose(0, 1).flatten(1).numpy()
        d = flat - flat.mean(1, keepdims=True)
        with np.errstate(invalid="ignore"):
            kurtosis = (d**4).mean(1) / (d**2).mean(1) ** 2 - 3
        rows.append(np.stack([flat.mean(1), flat.std(1), kurtosis]))
    return np.concatenate(rows, 1)


def test_any_batches_and_shards_give_numpys_moments() -> None:
    maps = data()
    for cuts in ([11], [1] * 11, [4, 4, 3]):
        moments, other, first = UnitMoments(LAYERS), UnitMoments(LAYERS), 0
        for n in cuts:
            part = moments if first < 5 else other
            part.add({name: tensor[first : first + n] for name, tensor in maps.items()})
            first += n
        moments.add_state_(other.state_dict())
        np.testing.assert_allclose(np.stack(moments.finish()), reference(maps), rtol=2e-5)


def test_a_resumed_run_is_the_same_to_the_last_bit() -> None:
    maps = data()
    straight, broken = UnitMoments(LAYERS), UnitMoments(LAYERS)
    for part in (slice(0, 4), slice(4, 8), slice(8, 11)):
        straight.add({name: tensor[part] for name, tensor in maps.items()})
        resumed = UnitMoments(LAYERS)
        resumed.load_state_dict(broken.state_dict())
        resumed.add({name: tensor[part] for name, tensor in maps.items()})
        broken = resumed
    for one, other in zip(straight.finish(), broken.finish(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_dead_unit_has_no_kurtosis_and_no_deviation() -> None:
    moments = UnitMoments(LAYERS)
    moments.add(data())
    mean, deviation, kurtosis = moments.finish()
    assert mean[4] == pytest.approx(7)
    assert deviation[4] == 0
    assert np.isnan(kurtosis[4])


def test_large_maps_are_thinned_and_still_close() -> None:
    layer = (LayerSpec("m", "big", 2, (256, 200)),)
    maps = torch.randn(6, 2, 256, 200, generator=torch.Generator().manual_seed(1)) * 2 + 5
    moments = UnitMoments(layer)
    moments.add({"big": maps})
    mean, deviation, kurtosis = moments.finish()
    np.testing.assert_allclose(mean, 5, atol=0.1)
    np.testing.assert_allclose(deviation, 2, rtol=0.05)
    np.testing.assert_allclose(kurtosis, 0, atol=0.2)
