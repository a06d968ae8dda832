"""Small maps come back as they were, whatever order and however often they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from rosetta_ui.errors import StoreError
from rosetta_ui.matching.activations import Activations, ActivationWriter, bilinear
from rosetta_ui.types import LayerSpec

LAYERS = {
    "gan": (LayerSpec("gan", "a", 3, (4, 4)), LayerSpec("gan", "b", 2, (64, 20))),
    "net/x": (LayerSpec("net/x", "c", 5, (7, 9)),),
}


def maps(seed: int, n: int, spec: LayerSpec) -> np.ndarray:
    size = (min(spec.size[0], 16), min(spec.size[1], 16))
    return np.random.default_rng(seed).normal(size=(n, spec.channels, *size)).astype(np.float32)


def write(folder: Path) -> ActivationWriter:
    writer = ActivationWriter(folder, LAYERS, 6)
    for model, specs in LAYERS.items():
        for spec in specs:
            whole = maps(1, 6, spec)
            for first, last in ((3, 6), (0, 4)):  # image 3 twice
                writer.record(model, spec.name, first, whole[first:last])
    return writer


def test_maps_and_ranges_come_back(tmp_path: Path) -> None:
    write(tmp_path).flush()
    read = Activations(tmp_path, LAYERS, 6)
    exact = maps(1, 6, LAYERS["gan"][1])  # [6, 2, 16, 16]: no resampling
    np.testing.assert_allclose(read.maps("gan", [4], [5, 0])[0], exact[[5, 0], 1], atol=2e-3)
    small = maps(1, 6, LAYERS["net/x"][0])
    expected = functional.interpolate(torch.from_numpy(small), size=16, mode="bilinear")
    got = read.maps("net/x", range(5), range(6)).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(got, expected.numpy(), atol=3e-3)
    low, high = read.ranges("net/x")
    np.testing.assert_allclose(low, small.min((0, 2, 3)), atol=2e-3)
    np.testing.assert_allclose(high, small.max((0, 2, 3)), atol=2e-3)


def test_a_later_run_goes_on_with_the_files(tmp_path: Path) -> None:
    first = write(tmp_path)
    assert not first.continued
    first.flush()
    again = ActivationWriter(tmp_path, LAYERS, 6)
    assert again.continued
    again.flush()
    low, _ = Activations(tmp_path, LAYERS, 6).ranges("gan")
    assert np.isfinite(low).all()


@pytest.mark.parametrize("damage", ["cut", "gone", "text"])
def test_damaged_files_are_made_again_and_refused_by_readers(tmp_path: Path, damage: str) -> None:
    write(tmp_path).flush()
    path = tmp_path / "maps-gan-1.npy"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7] if damage == "cut" else b"hello")
    with pytest.raises(StoreError):
        Activations(tmp_path, LAYERS, 6)
    assert not ActivationWriter(tmp_path, LAYERS, 6).continued


def test_infinite_activations_are_drawn_as_the_largest(tmp_path: Path) -> None:
    writer = ActivationWriter(tmp_path, LAYERS, 6)
    writer.record("gan", "a", 0, np.full((1, 3, 4, 4), 1e9, np.float32))
    writer.flush()
    assert Activations(tmp_path, LAYERS, 6).maps("gan", [0], [0]).max() == 65504


def test_resampling_rows_sum_to_one_and_16_is_the_identity() -> None:
    for side in range(1, 17):
        np.testing.assert_allclose(bilinear(side).sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(bilinear(16), np.eye(16, dtype=np.float32))
