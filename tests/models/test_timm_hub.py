"""Weights from timm's hub: its cache, no network, a refusal; and a file in place of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save, save_file

from rosetta_ui.errors import WeightsUnavailableError
from rosetta_ui.models import timm_hub
from rosetta_ui.models.cards_published_backbones import RESNET50
from rosetta_ui.models.loading import load_backbone
from rosetta_ui.models.registry import build_registry
from rosetta_ui.models.timm_backbones import build, convert, load
from rosetta_ui.models.timm_hub import create_from_hub
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.types import ModelCard, WeightSource


def _hub_card() -> ModelCard:
    source = WeightSource(
        "timm",
        filename="model.safetensors",
        origin="https://huggingface.co/timm/test_vit.r160_in1k",
    )
    return replace(
        RESNET50,
        name="test_vit",
        source=source,
        image_size=(160, 160),
        options={"model": "test_vit.r160_in1k"},
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_without_a_network_the_file_and_the_command_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailableError) as caught:
        load(_hub_card(), {})
    said = caught.value.sentence
    assert "The weights of 'test_vit' could not be downloaded: there is no network." in said
    assert "model.safetensors from https://huggingface.co/timm/test_vit.r160_in1k" in said
    assert "python -m rosetta_ui zoo add test_vit model.safetensors" in said


def test_a_hub_that_does_not_answer_is_known_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Its client would retry for 47 seconds.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(timm_hub, "getproxies", dict)
    monkeypatch.setattr(timm, "create_model", _never)
    with pytest.raises(WeightsUnavailableError, match="there is no network"):
        create_from_hub(_hub_card(), {})


def _never(*_arguments: Any, **_options: Any) -> Any:
    raise AssertionError("nothing may be downloaded")


@pytest.mark.usefixtures("offline")
def test_what_the_hub_downloaded_before_is_used_without_a_network(tmp_path: Path) -> None:
    card = _hub_card()
    state = build(replace(card, options={**card.options, "random_seed": 7})).state_dict()
    folder = tmp_path / "models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(state, folder / "snapshots" / ("0" * 40) / "model.safetensors")
    net = create_from_hub(card, {}, cache_dir=tmp_path)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@pytest.mark.usefixtures("offline")
def test_a_refusal_of_the_hub_is_passed_on_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise PermissionError("403: access to this model is restricted.\nLog in first.")

    monkeypatch.setattr(timm_hub, "in_hub_cache", lambda *_: True)
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(WeightsUnavailableError, match="downloaded: 403: access to this model"):
        create_from_hub(_hub_card(), {})


def test_a_file_added_by_hand_takes_the_place_of_the_hub(tmp_path: Path) -> None:
    registry = build_registry()
    card = registry.card("test_vit")
    state = build(replace(card, options={**card.options, "random_seed": 7})).state_dict()
    tensors, facts = convert({"model.safetensors": save(dict(state))}, card)
    store = WeightStore(tmp_path)
    store.add(card, tensors, facts, "0" * 64)
    backbone = load_backbone(registry, "test_vit", store)
    assert torch.equal(backbone.net.state_dict()["pos_embed"], state["pos_embed"])
