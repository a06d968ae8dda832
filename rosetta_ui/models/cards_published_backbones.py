"""Cards of the published system's backbones, by the names it gives them.

They are fed as published: the generator's picture, (x + 1) / 2, bicubic to 224 px without a crop,
the network's own mean and deviation. Checked here without their weights: layers, counts, key names.
"""

from __future__ import annotations

from rosetta_ui.types import ModelCard, WeightSource

_HUB = "https://huggingface.co/"
_ATTRIBUTION = "Free to use, also commercially, with attribution."
_RESNET_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_MLPS = tuple(f"blocks.{block}.mlp.act" for block in range(12))
_DINO_PAPER = "Caron et al. 2021, Emerging properties in self-supervised ViTs, arXiv:2104.14294"

RESNET50 = ModelCard(
    name="resnet50",
    role="backbone",
    family="timm",
    title="ResNet-50",
    about="Convolutional network trained on ImageNet's class labels; torchvision's first weights.",
    licence="BSD-3-Clause (torchvision)",
    terms=_ATTRIBUTION,
    paper="He et al. 2015, Deep residual learning, arXiv:1512.03385",
    source=WeightSource(
        kind="timm",
        filename="model.safetensors",
        origin=f"{_HUB}timm/resnet50.tv_in1k",
        size=102_500_000,
    ),
    units=3_840,
    options={"model": "resnet50.tv_in1k", "layers": _RESNET_LAYERS},
)

DINO = ModelCard(
    name="dino",
    role="backbone",
    family="timm",
    title="DINO ResNet-50",
    about="ResNet-50 trained without labels, by self-distillation (DINO), on ImageNet.",
    licence="Apache-2.0",
    terms=_ATTRIBUTION,
    paper=_DINO_PAPER,
    source=WeightSource(
        kind="file",
        filename="dino_resnet50_pretrain.pth",
        origin="https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
        size=94_000_000,
    ),
    units=3_840,
    options={
        "model": "resnet50",
        "create": {"num_classes": 0},
        "layers": _RESNET_LAYERS,
        # The full training checkpoint also holds the projection head of self-distillation.
        "ignore": ("head.", "fc."),
    },
)


def _dino_vit(patch: int) -> ModelCard:
    return ModelCard(
        name=f"dino_vitb{patch}",
        role="backbone",
        family="timm",
        title=f"DINO ViT-B/{patch}",
        about=f"Vision transformer on patches of {patch} px, trained without labels (DINO) on "
        "ImageNet.",
        licence="Apache-2.0",
        terms=_ATTRIBUTION,
        paper=_DINO_PAPER,
        source=WeightSource(
            kind="timm",
            filename="model.safetensors",
            origin=f"{_HUB}timm/vit_base_patch{patch}_224.dino",
            size=343_000_000,
        ),
        units=36_864,
        options={
            "model": f"vit_base_patch{patch}_224.dino",
            "create": {"num_classes": 0},
            "layers": _MLPS,
            "ignore": ("head.",),
        },
    )


DINO_VITB8 = _dino_vit(8)
DINO_VITB16 = _dino_vit(16)

MAE = ModelCard(
    name="mae",
    role="backbone",
    family="timm",
    title="MAE ViT-B/16",
    about="Vision transformer trained to fill in masked patches (MAE) on ImageNet, without labels.",
    licence="CC BY-NC 4.0",
    terms="Non-commercial use only, with attribution.",
    paper="He et al. 2021, Masked autoencoders, arXiv:2111.06377",
    source=WeightSource(
        kind="timm",
        filename="model.safetensors",
        origin=f"{_HUB}timm/vit_base_patch16_224.mae",
        size=343_000_000,
    ),
    units=36_864,
    options={
        "model": "vit_base_patch16_224.mae",
        "create": {"num_classes": 0},
        "layers": _MLPS,
        # mae_visualize_vit_base.pth also holds the decoder, which sees no whole picture.
        "ignore": ("decoder_", "mask_token"),
    },
)

CLIP = ModelCard(
    name="clip",
    role="backbone",
    family="timm",
    title="CLIP ResNet-50",
    about="Image tower of CLIP, a ResNet-50 trained to match pictures with their captions.",
    licence="MIT",
    terms=_ATTRIBUTION,
    paper="Radford et al. 2021, CLIP, arXiv:2103.00020",
    source=WeightSource(
        kind="timm",
        filename="model.safetensors",
        origin=f"{_HUB}timm/resnet50_clip.openai",
        size=153_000_000,
    ),
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    units=3_840,
    options={
        "model": "resnet50_clip.openai",
        "layers": {f"layer{stage + 1}": f"stages.{stage}" for stage in range(4)},
    },
)

PUBLISHED_BACKBONES: tuple[ModelCard, ...] = (RESNET50, DINO, DINO_VITB8, DINO_VITB16, MAE, CLIP)
