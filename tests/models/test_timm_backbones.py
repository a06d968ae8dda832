"""timm backbones: random weights, and files by the names of four publishers, read strictly."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save
from torch import Tensor

from rosetta_ui.errors import (
    BadRequestError,
    UnsafeFileError,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models.cards_published_backbones import DINO, MAE, RESNET50
from rosetta_ui.models.loading import load_backbone
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.timm_backbones import build, convert, load
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import ModelCard

# Small enough to save and read in a moment, with every key that the large one has.
SMALL_VIT = {"depth": 2, "embed_dim": 48, "num_heads": 3, "num_classes": 0}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


def _small_resnet(card: ModelCard, **options: Any) -> ModelCard:
    """The card for a ResNet of the same key names with one block a stage."""
    create = {**card.options.get("create", {}), "layers": (1, 1, 1, 1)}
    return replace(card, options={**card.options, "create": create, **options})


def _small_vit(card: ModelCard, **create: Any) -> ModelCard:
    options = {**card.options, "create": {**SMALL_VIT, **create}, "layers": ("blocks.1.mlp.act",)}
    return replace(card, image_size=(32, 32), options=options)


def _pth(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _weights(card: ModelCard, seed: int = 7) -> dict[str, Tensor]:
    """A whole random state dict for a card's network."""
    return build(replace(card, options={**card.options, "random_seed": seed})).state_dict()


def _outputs(card: ModelCard, tensors: Mapping[str, Tensor]) -> Tensor:
    height, width = card.image_size
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return load(card, tensors).net(images)


def test_a_network_loaded_in_inference_mode_can_still_be_differentiated_through() -> None:
    with torch.inference_mode():
        backbone = load(replace(RESNET50, options={"model": "resnet18", "random_seed": 0}), {})
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    backbone.net(images).sum().backward()
    assert images.grad is not None


# Random weights


def test_random_weights_follow_their_seed_and_leave_the_global_state_alone() -> None:
    card = replace(RESNET50, source=None, options={"model": "resnet18", "random_seed": 3})
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    one = load(card, {}).net.state_dict()
    assert torch.equal(torch.rand(1), expected)
    other = load(card, {}).net.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    third = load(replace(card, options={**card.options, "random_seed": 4}), {}).net.state_dict()
    assert not torch.equal(one["conv1.weight"], third["conv1.weight"])


def test_random_weights_are_labelled(registry: Registry) -> None:
    card = registry.card("clip.random5", "backbone")
    assert card.title == "CLIP ResNet-50, random weights (seed 5)"
    assert card.licence == "none (random numbers)"
    assert card.source is None
    assert card.options["random_seed"] == 5
    assert registry.card("dinov2-s.random").options["random_seed"] == 0
    assert registry.card("resnet18.random").options["random_seed"] == 0
    unlabelled = replace(RESNET50, options={**RESNET50.options, "random_seed": 0})
    assert load(unlabelled, {}).card.title == "ResNet-50 (random weights)"


def test_a_random_backbone_loads_by_name_from_an_empty_cache(
    registry: Registry, tmp_path: Path
) -> None:
    store = WeightStore(tmp_path)
    assert store.state(registry.card("resnet18.random")).state == "ready"
    backbone = load_backbone(registry, "resnet18.random", store)
    with torch.inference_mode(), tap(backbone.net, backbone.layers) as maps:
        backbone.forward(backbone.prepare(torch.zeros(1, 3, 64, 64)))
    assert list(maps) == ["layer1", "layer2", "layer3", "layer4"]


def test_weights_are_never_made_up_unasked() -> None:
    with pytest.raises(WeightsUnavailableError, match="The weights of 'dino' are not here"):
        load(DINO, {})


# Files


def test_torchvisions_resnet50_file_gives_torchvisions_numbers_to_the_last_bit() -> None:
    torch.manual_seed(2)
    theirs = torchvision.models.resnet50().eval()
    tensors, facts = convert({"resnet50-0676ba61.pth": _pth(theirs.state_dict())}, RESNET50)
    ours = load(RESNET50, tensors)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(ours.net(images), theirs(images))
    assert facts == {}


def test_torchvisions_vit_file_gives_torchvisions_numbers() -> None:
    torch.manual_seed(2)
    theirs = torchvision.models.VisionTransformer(32, 16, 2, 3, 48, 192, num_classes=5).eval()
    torch.nn.init.normal_(theirs.heads[0].weight)
    card = _small_vit(MAE, num_classes=5)
    card = replace(card, options={**card.options, "model": "vit_base_patch16_224"})
    tensors, _ = convert({"vit_b_16-c867db91.pth": _pth(theirs.state_dict())}, card)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(load(card, tensors).net(images), theirs(images))


def test_dinos_resnet_file_has_torchvisions_names_without_a_classifier() -> None:
    card = _small_resnet(DINO)
    state = _weights(card)
    assert "fc.weight" not in state
    tensors, _ = convert({"dino_resnet50_pretrain.pth": _pth(state)}, card)
    assert torch.equal(_outputs(card, tensors), _outputs(card, state))


def test_dinos_training_checkpoint_gives_its_teacher_without_the_projection_head() -> None:
    card = _small_resnet(DINO)
    state = _weights(card)
    teacher = {f"backbone.{key}": value for key, value in state.items()}
    teacher["head.mlp.0.weight"] = torch.zeros(3)
    student = {f"module.{key}": value + 1 for key, value in teacher.items()}
    content = {"student": student, "teacher": teacher, "epoch": 800, "optimizer": {"lr": 0.1}}
    tensors, _ = convert({"dino_resnet50_pretrain_full_checkpoint.pth": _pth(content)}, card)
    assert torch.equal(_outputs(card, tensors), _outputs(card, state))


def test_maes_file_holds_its_weights_under_the_key_model() -> None:
    card = _small_vit(MAE)
    state = _weights(card)
    assert {"cls_token", "pos_embed", "blocks.1.mlp.fc1.weight", "norm.bias"} <= set(state)
    tensors, _ = convert({"mae_pretrain_vit_base.pth": _pth({"model": state})}, card)
    assert torch.equal(_outputs(card, tensors), _outputs(card, state))


def test_maes_file_with_its_decoder_is_read_without_it() -> None:
    card = _small_vit(MAE)
    state = _weights(card)
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 48)}
    tensors, _ = convert({"mae_visualize.pth": _pth({"model": {**state, **decoder}})}, card)
    assert set(tensors) == set(state)


def test_a_safetensors_file_is_read_too() -> None:
    card = _small_resnet(DINO)
    state = _weights(card)
    tensors, _ = convert({"model.safetensors": save(dict(state))}, card)
    assert torch.equal(_outputs(card, tensors), _outputs(card, state))


def test_position_embeddings_of_another_image_size_are_resampled_as_timm_does() -> None:
    card = _small_vit(MAE)
    larger = replace(card, image_size=(64, 64))
    tensors, _ = convert({"vit.pth": _pth(_weights(larger))}, card)
    assert tensors["pos_embed"].shape == (1, 1 + 4, 48)
    load(card, tensors)


def test_a_file_with_a_head_that_nobody_declared_is_refused_by_name() -> None:
    card = _small_resnet(DINO, ignore=())
    state = {**_weights(card), "fc.weight": torch.zeros(1000, 2048)}
    with pytest.raises(WeightsCorruptError, match=r"has unknown fc\.weight"):
        convert({"resnet50.pth": _pth(state)}, card)
    convert({"resnet50.pth": _pth(state)}, _small_resnet(DINO))


def test_a_file_of_another_architecture_is_refused_by_name() -> None:
    state = _weights(replace(RESNET50, options={"model": "resnet18"}))
    with pytest.raises(WeightsCorruptError, match=r"lacks layer1\.0\.conv3\.weight"):
        convert({"resnet18.pth": _pth(state)}, RESNET50)


def test_loading_names_what_is_missing_and_what_is_surplus() -> None:
    card = _small_resnet(DINO)
    state = _weights(card)
    state["stray.weight"] = state.pop("bn1.bias")
    with pytest.raises(WeightsCorruptError, match=r"lacks bn1\.bias; it has unknown stray\.weight"):
        load(card, state)


def test_a_file_that_asks_for_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (canary,)

    with pytest.raises(UnsafeFileError):
        convert({"evil.pth": _pth({"model": Evil()})}, RESNET50)
    assert not canary.exists()


def test_a_truncated_file_is_refused() -> None:
    content = _pth(_weights(_small_resnet(DINO)))
    with pytest.raises(WeightsCorruptError):
        convert({"half.pth": content[: len(content) // 2]}, DINO)


def test_one_model_is_one_file() -> None:
    with pytest.raises(BadRequestError, match="'dino' is one file, but 2 were given"):
        convert({"a.pth": b"", "b.pth": b""}, DINO)
