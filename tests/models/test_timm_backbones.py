"""timm backbones: published cards, any timm name, files of four publishers, the hub, random."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save, save_file
from torch import Tensor

from rosetta_ui.errors import (
    BadRequestError,
    UnknownModelError,
    UnsafeFileError,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models import timm_hub
from rosetta_ui.models.cards_published_backbones import DINO, MAE, PUBLISHED_BACKBONES, RESNET50
from rosetta_ui.models.loading import load_backbone
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.timm_backbones import build, convert, layers_of, load
from rosetta_ui.models.timm_hub import create_from_hub
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import ModelCard, WeightSource

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


# The published cards


@pytest.mark.parametrize("card", PUBLISHED_BACKBONES, ids=lambda card: card.name)
def test_published_backbones_have_the_published_layers_as_units(card: ModelCard) -> None:
    layers = layers_of(card)
    names = [spec.name for spec in layers]
    if card.units == 3_840:
        assert names == ["layer1", "layer2", "layer3", "layer4"]
        assert [spec.channels for spec in layers] == [256, 512, 1024, 2048]
        assert [spec.size for spec in layers] == [(56, 56), (28, 28), (14, 14), (7, 7)]
    else:
        assert names == [f"blocks.{block}.mlp.act" for block in range(12)]
        assert {spec.channels for spec in layers} == {3_072}
        assert {spec.prefix_tokens for spec in layers} == {1}
    assert sum(spec.channels for spec in layers) == card.units


@pytest.mark.parametrize("card", PUBLISHED_BACKBONES, ids=lambda card: card.name)
def test_published_backbones_say_where_they_come_from_and_how_they_are_fed(
    card: ModelCard,
) -> None:
    assert card.source is not None
    assert card.source.origin.startswith("https://")
    assert card.source.filename
    assert card.licence
    assert card.terms
    assert "arXiv" in card.paper
    assert (card.image_size, card.interpolation) == ((224, 224), "bicubic")
    facts = timm.models.get_pretrained_cfg(str(card.options["model"]))
    assert card.mean == facts.mean
    assert card.std == facts.std


def test_the_published_names_are_in_the_registry_and_survive_json(registry: Registry) -> None:
    for name in ("resnet50", "dino", "dino_vitb8", "dino_vitb16", "mae", "clip"):
        card = registry.card(name, "backbone")
        again = ModelCard.from_json(json.loads(json.dumps(card.to_json())))
        assert layers_of(again) == layers_of(card)


# Any timm model by its own name


def test_a_timm_name_is_a_backbone_with_timms_own_facts(registry: Registry) -> None:
    card = registry.card("convnext_tiny.fb_in22k", "backbone")
    facts = timm.models.get_pretrained_cfg("convnext_tiny.fb_in22k")
    assert card.source == WeightSource(
        "timm",
        filename="model.safetensors",
        origin="https://huggingface.co/timm/convnext_tiny.fb_in22k",
    )
    assert (card.licence, card.units) == ("apache-2.0", 26_496)
    assert (card.mean, card.std, card.interpolation) == (
        facts.mean,
        facts.std,
        facts.interpolation,
    )
    assert card.image_size == facts.input_size[1:]
    assert registry.card("convnext_tiny.fb_in22k") is card
    assert card.name not in registry.names()


def test_an_architecture_alone_names_timms_default_weights(registry: Registry) -> None:
    card = registry.card("resnet18")
    tag = timm.models.get_pretrained_cfg("resnet18").tag
    assert card.options["model"] == f"resnet18.{tag}"
    assert tag in card.title


def test_input_facts_follow_the_weights(registry: Registry) -> None:
    siglip = registry.card("vit_base_patch16_siglip_224.webli")
    assert siglip.mean == (0.5, 0.5, 0.5)
    wide = registry.card("vit_small_patch16_dinov3.lvd1689m")
    assert wide.image_size == (256, 256)
    assert wide.terms == "Under its publisher's own licence; read it before use."
    assert registry.card("vit_base_patch16_224.mae").terms == "Non-commercial use only."


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("convnext_tinny.fb_in22k", "convnext_tiny.fb_in22k"),
        ("vit_base_patch16_225", "vit_base_patch16_224"),
        ("resnet18.nope", "resnet18"),
        ("dino_vitb32", "dino_vitb"),
        ("resnet18.randm", "resnet18"),
        ("thin-resnet50.random", "thin-resnet50"),
    ],
)
def test_unknown_names_list_the_nearest(registry: Registry, wrong: str, near: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        registry.card(wrong, "backbone")
    assert near in caught.value.hint
    assert len(caught.value.hint) < 300


def test_a_generator_is_not_looked_for_in_timm(registry: Registry) -> None:
    with pytest.raises(UnknownModelError):
        registry.card("resnet18", "generator")


def test_an_unknown_architecture_in_a_card_is_refused_at_the_door() -> None:
    card = replace(RESNET50, options={"model": "resnet5O", "random_seed": 0})
    with pytest.raises(UnknownModelError, match="no timm model called 'resnet5O'"):
        load(card, {})


@pytest.mark.parametrize("create", [{"bogus": 1}, {"img_size": 100}])
def test_options_that_timm_refuses_are_named(create: dict[str, Any]) -> None:
    model = "swin_tiny_patch4_window7_224" if "bogus" not in create else "resnet18"
    options = {"model": model, "create": create, "random_seed": 0}
    if "img_size" in create:
        options["create"] = {"img_size": "large"}
    with pytest.raises(BadRequestError, match=f"timm cannot build '{model}' with"):
        load(replace(RESNET50, options=options), {})


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


# The hub


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
    state = _weights(card)
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

    monkeypatch.setattr(timm_hub, "_cached", lambda *_: True)
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(WeightsUnavailableError, match="downloaded: 403: access to this model"):
        create_from_hub(_hub_card(), {})


def test_a_file_added_by_hand_takes_the_place_of_the_hub(
    registry: Registry, tmp_path: Path
) -> None:
    card = registry.card("test_vit")
    state = _weights(card)
    tensors, facts = convert({"model.safetensors": save(dict(state))}, card)
    store = WeightStore(tmp_path)
    store.add(card, tensors, facts, "0" * 64)
    backbone = load_backbone(registry, "test_vit", store)
    assert torch.equal(backbone.net.state_dict()["pos_embed"], state["pos_embed"])
