"""Which layers are units: known architectures, rules on toy networks, refusals with a reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rosetta_ui.errors import NotSpatialError, UnknownLayerError
from rosetta_ui.models.timm_backbones import layers_of, load
from rosetta_ui.models.timm_layers import find_layers
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import ModelCard


def _card(name: str, size: tuple[int, int] = (224, 224), **options: Any) -> ModelCard:
    return ModelCard(
        name=name,
        role="backbone",
        family="timm",
        title=name,
        about="",
        licence="",
        terms="",
        image_size=size,
        options={"model": name, **options},
    )


@pytest.mark.parametrize(
    ("name", "n_layers", "n_units", "first", "kind", "prefix"),
    [
        ("resnet50", 4, 3_840, "layer1", "conv", 0),
        ("vit_base_patch16_224", 12, 36_864, "blocks.0.mlp.act", "tokens", 1),
        ("deit_base_distilled_patch16_224", 12, 36_864, "blocks.0.mlp.act", "tokens", 2),
        ("vit_base_patch16_siglip_224", 12, 36_864, "blocks.0.mlp.act", "tokens", 0),
        ("beit_base_patch16_224", 12, 36_864, "blocks.0.mlp.act", "tokens", 1),
        ("convnext_tiny", 18, 26_496, "stages.0.blocks.0.mlp.act", "channels_last", 0),
        ("maxvit_tiny_rw_224", 22, 21_504, "stages.0.blocks.0.attn_block.mlp.act", None, 0),
        ("swin_tiny_patch4_window7_224", 12, 17_664, "layers.0.blocks.0.mlp.act", "tokens", 0),
        ("mixer_b16_224", 12, 36_864, "blocks.0.mlp_channels.act", "tokens", 0),
        ("densenet121", 4, 2_816, "features.transition1.norm.act", "conv", 0),
        ("resnetv2_50", 4, 3_840, "stages.1.blocks.0.norm1.act", "conv", 0),
        ("mobilenetv2_100", 5, 1_904, "blocks.0.0.bn1.act", "conv", 0),
        ("resnet50_clip", 4, 3_840, "stages.0", "conv", 0),
    ],
)
def test_known_architectures_have_the_units_that_their_papers_describe(
    name: str, n_layers: int, n_units: int, first: str, kind: str | None, prefix: int
) -> None:
    layers = layers_of(_card(name))
    assert len(layers) == n_layers
    assert sum(spec.channels for spec in layers) == n_units
    assert layers[0].name == first
    assert kind in (None, layers[0].kind)
    assert layers[0].prefix_tokens == prefix


def test_registers_count_as_prefix_tokens() -> None:
    (spec, *_) = layers_of(_card("vit_small_patch16_dinov3", (256, 256)))
    assert (spec.prefix_tokens, spec.size) == (5, (16, 16))
    (spec, *_) = layers_of(_card("vit_small_patch14_reg4_dinov2", (224, 224)))
    assert (spec.prefix_tokens, spec.size) == (5, (16, 16))


def test_a_class_token_that_joins_late_is_prefix_only_there() -> None:
    layers = layers_of(_card("convit_tiny"))
    assert layers[0].prefix_tokens == 0
    assert layers[-1].prefix_tokens == 1


def test_the_unit_of_a_gated_mlp_is_what_its_second_matrix_reads() -> None:
    backbone = load(_card("eva02_tiny_patch14_224", (56, 56), random_seed=0), {})
    spec = backbone.layers[3]
    assert spec.name == "blocks.3.mlp.drop1"
    mlp = backbone.net.get_submodule("blocks.3.mlp")
    seen: dict[str, Tensor] = {}
    handle = mlp.register_forward_pre_hook(lambda _module, inputs: seen.update(x=inputs[0]))
    images = torch.rand(1, 3, 56, 56)
    with torch.inference_mode(), tap(backbone.net, [spec]) as maps:
        backbone.net(images)
    handle.remove()
    with torch.inference_mode():
        gate, value = mlp.get_submodule("fc1")(seen["x"]).chunk(2, dim=-1)
        product = (mlp.get_submodule("act")(gate) * value)[:, spec.prefix_tokens :]
    assert torch.equal(maps[spec.name].flatten(2).transpose(1, 2), product)


def test_tokens_in_an_order_of_their_own_are_refused() -> None:
    # Hiera keeps its tokens by mask unit; read row by row they would be a scrambled picture.
    with pytest.raises(NotSpatialError, match="No layer of hiera_tiny_224 is a map"):
        layers_of(_card("hiera_tiny_224"))
    with pytest.raises(NotSpatialError, match="order of its own"):
        layers_of(_card("hiera_tiny_224", layers=("blocks.0.mlp.act",)))


def test_named_layers_are_taken_in_the_given_order_and_may_be_shown_under_other_names() -> None:
    layers = layers_of(_card("resnet18", layers=("layer3", "layer1.0.act1")))
    assert [(spec.name, spec.channels) for spec in layers] == [
        ("layer3", 256),
        ("layer1.0.act1", 64),
    ]
    (spec,) = layers_of(_card("resnet50_clip", layers={"layer1": "stages.0"}))
    assert (spec.name, spec.module, spec.path) == ("layer1", "stages.0", "stages.0")


def test_a_named_layer_that_is_no_layer_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownLayerError, match="no layer 'layer5'") as caught:
        layers_of(_card("resnet18", layers=("layer5",)))
    assert "layer4" in caught.value.hint


@pytest.mark.parametrize(
    ("model", "layer", "reason"),
    [
        ("resnet18", "fc", "has no positions"),
        ("resnet18", "global_pool", "has no positions"),
        ("resnet18", "bn1", "overwrites in place"),
        ("vit_tiny_patch16_224", "head", "has no positions"),
        ("mixer_s32_224", "blocks.0.mlp_tokens.act", "256 tokens|512 tokens|make no grid"),
        ("mobilevit_xxs", "stages.2.1.transformer.0.mlp.act", "mixed into the batch"),
        ("nest_tiny", "levels.0.transformer_encoder.0.mlp.act", "no grid"),
        ("coat_mini", "parallel_blocks.0.mlp2.act", "runs at 3 sizes"),
    ],
)
def test_a_named_layer_that_is_no_map_is_refused_with_the_reason(
    model: str, layer: str, reason: str
) -> None:
    with pytest.raises(NotSpatialError, match=reason) as caught:
        layers_of(_card(model, layers=(layer,)))
    assert layer in caught.value.message


class _Stages(nn.Module):
    """Two stages that end as the test wants, behind a stem, listed as timm lists them."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.one = first
        self.two = second
        self.feature_info = [
            {"module": "stem", "num_chs": 4, "reduction": 2},
            {"module": "one", "num_chs": 4, "reduction": 2},
            {"module": "two", "num_chs": 4, "reduction": 2},
        ]

    def forward(self, images: Tensor) -> Tensor:
        return self.two(self.one(self.stem(images)))


def _conv() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1)


def _names(net: nn.Module) -> list[str]:
    return [spec.name for spec in find_layers(net.eval(), "toy", (16, 24))]


def test_a_stage_that_ends_in_an_activation_is_read_at_its_end() -> None:
    stage = nn.Sequential(_conv(), nn.ReLU(inplace=True))
    assert _names(_Stages(stage, nn.Sequential(_conv(), nn.GELU()))) == ["one", "two"]


def test_a_linear_bottleneck_is_read_at_the_last_activation_inside() -> None:
    stage = nn.Sequential(_conv(), nn.ReLU6(inplace=True), _conv(), nn.BatchNorm2d(4))
    last = nn.Sequential(_conv(), nn.SiLU(), _conv())
    assert _names(_Stages(stage, last)) == ["one.1", "two.1"]


def test_a_pre_activation_stage_is_read_at_the_norm_and_activation_after_it() -> None:
    first = nn.Sequential(_conv(), nn.ReLU(), _conv())
    second = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), _conv(), nn.ReLU())
    assert _names(_Stages(first, second)) == ["two.1", "two"]


def test_a_stage_without_any_activation_is_read_as_it_is() -> None:
    assert _names(_Stages(nn.Sequential(_conv()), nn.Sequential(_conv()))) == ["one", "two"]


def test_a_network_without_listed_stages_is_read_once_at_every_size() -> None:
    net = nn.Sequential(
        _conv3(), nn.ReLU(), _conv(), nn.ReLU(), nn.MaxPool2d(2), _conv(), nn.ReLU()
    )
    assert _names(net) == ["3", "6"]


def _conv3() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, padding=1)


def test_a_network_that_gives_no_maps_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 24, 8), nn.ReLU())
    with pytest.raises(NotSpatialError, match="No layer of toy is a map over positions at 16×24"):
        _names(net)


def test_a_dry_run_that_fails_leaves_no_hook() -> None:
    net = nn.Sequential(nn.Conv2d(5, 4, 3))
    with pytest.raises(RuntimeError):
        _names(net)
    assert not any(module._forward_hooks for module in net.modules())
