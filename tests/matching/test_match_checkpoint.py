"""A saved state comes back exactly or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rosetta_ui.errors import StoreError
from rosetta_ui.matching.checkpoint import Checkpoint

STATE = {
    "sums": torch.arange(12.0).view(3, 4).t(),  # not contiguous
    "count": torch.tensor(7),
    "mask": torch.tensor([True, False]),
    "nothing": torch.zeros(0, 3, dtype=torch.float64),
}
FACTS = {"done": 7, "words": "ψ 0.7 “quoted” \\"}


def test_tensors_and_facts_come_back_exactly(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run" / "state.safetensors")
    checkpoint.save(STATE, FACTS)
    loaded = checkpoint.load()
    assert loaded is not None
    tensors, facts = loaded
    assert facts == FACTS
    assert tensors.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_nothing_saved_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "state.safetensors").load() is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "header"])
def test_a_damaged_state_is_dropped_not_used(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint = Checkpoint(path)
    checkpoint.save(STATE, FACTS)
    data = bytearray(path.read_bytes())
    match damage:
        case "flip":
            data[-3] ^= 4
        case "cut":
            del data[-5:]
        case "empty":
            data.clear()
        case "text":
            data[:] = b"hello there"
        case _:
            data[data.index(b"done")] ^= 1
    path.write_bytes(data)
    assert checkpoint.load() is None
    assert not path.exists()


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    Checkpoint(path).save(STATE, FACTS)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole), 200, replace=False):
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        loaded = Checkpoint(path).load()
        if loaded is not None:  # spaces after the header's JSON carry nothing
            assert loaded[1] == FACTS
            assert all(torch.equal(loaded[0][name], STATE[name]) for name in STATE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_keeps_the_earlier_state(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    checkpoint.save(STATE, {"done": 1})
    (tmp_path / ".state.safetensors.tmp").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="disk is full"):
        checkpoint.save(STATE, {"done": 2})
    loaded = checkpoint.load()
    assert loaded is not None
    assert loaded[1] == {"done": 1}


def test_a_place_that_is_no_folder_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file", "utf-8")
    with pytest.raises(StoreError, match="could not be written"):
        Checkpoint(tmp_path / "run" / "state.safetensors").save(STATE, FACTS)


def test_saves_are_spaced_by_images_or_by_their_cost(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    assert checkpoint.due(4, 4)
    assert not checkpoint.due(4, 3)
    assert not checkpoint.due(0, 1000)
