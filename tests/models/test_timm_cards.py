"""Cards of timm backbones: the published names, any timm name, and unknown ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import timm

from rosetta_ui.errors import BadRequestError, UnknownModelError
from rosetta_ui.models.cards_published_backbones import PUBLISHED_BACKBONES, RESNET50
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.timm_backbones import layers_of, load
from rosetta_ui.types import ModelCard, WeightSource


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


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
