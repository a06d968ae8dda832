"""Cards of the published system's generators, under its names.

No package index carries their weights: a person brings the file, whose own shape then overrules
what a card says. Where the number of units depends on a setting that only the file tells, it is 0.
"""

from __future__ import annotations

from dataclasses import replace

from rosetta_ui.types import ModelCard, WeightSource

_NVIDIA = "NVIDIA Source Code License-NC"
_FFHQ = "FFHQ is CC BY-NC-SA 4.0"
_LSUN = "LSUN is for research use"


def _stylegan2(name: str, thing: str, side: int, units: int, data: str) -> ModelCard:
    short = name.removeprefix("stylegan2-").removeprefix("lsun_")
    return ModelCard(
        name=name,
        role="generator",
        family="stylegan2",
        title=f"StyleGAN2 config-f ({thing}, {side} px)",
        about=f"{thing.capitalize()} at {side} × {side}; rosinality's or NVIDIA's file layout.",
        licence=_NVIDIA,
        terms=f"Research and evaluation only, not commercially; {data}.",
        paper="Karras et al. 2020, StyleGAN2, arXiv:1912.04958",
        source=WeightSource(
            kind="file",
            filename=f"stylegan2-{short}-config-f.pt",
            origin=(
                "the file share that the README of the published Rosetta Neurons code links "
                f"(or NVIDIA's official stylegan2-{short}-config-f.pkl in its PyTorch form)"
            ),
        ),
        image_size=(side, side),
        latent_size=512,
        latent_distribution="truncated",
        psi=0.7,
        spaces=("z", "w", "w+"),
        units=units,
    )


def _stylegan3(name: str, thing: str, side: int, units: int, filename: str, data: str) -> ModelCard:
    return ModelCard(
        name=name,
        role="generator",
        family="stylegan3",
        title=f"StyleGAN3-R ({thing}, {side} px)",
        about=f"{thing.capitalize()} at {side} × {side}, equivariant to shift and rotation.",
        licence=_NVIDIA,
        terms=f"Research and evaluation only, not commercially; {data}.",
        paper="Karras et al. 2021, StyleGAN3, arXiv:2106.12423",
        source=WeightSource(
            kind="file",
            filename=filename,
            origin="NVIDIA's NGC catalogue, under the model files of StyleGAN3",
        ),
        image_size=(side, side),
        latent_size=512,
        spaces=("z", "w", "w+"),
        units=units,
    )


BIGGAN = ModelCard(
    name="biggan",
    role="generator",
    family="biggan",
    title="BigGAN-deep (ImageNet, 256 px)",
    about="A thousand ImageNet classes at 256 × 256.",
    licence="MIT (the converted files); the original weights are DeepMind's, on TensorFlow Hub",
    terms="Free to use by its licence; ImageNet pictures are for non-commercial research.",
    paper="Brock et al. 2019, BigGAN, arXiv:1809.11096",
    source=WeightSource(
        kind="file",
        filename="biggan-deep-256-pytorch_model.bin",
        origin=(
            "Hugging Face's models bucket, as pytorch-pretrained-BigGAN names it, together with "
            "biggan-deep-256-config.json"
        ),
    ),
    image_size=(256, 256),
    latent_size=128,
    latent_distribution="truncated",
    psi=1.0,
    n_classes=1000,
    spaces=("z",),
    units=23_296,
)

STYLEGAN_XL = ModelCard(
    name="styleganxl",
    role="generator",
    family="styleganxl",
    title="StyleGAN-XL (ImageNet, 256 px)",
    about="A thousand ImageNet classes at 256 × 256, grown in stages from a 16 px stem.",
    licence=f"{_NVIDIA}, through StyleGAN3, which it builds on",
    terms="Research and evaluation only; ImageNet pictures are for non-commercial research.",
    paper="Sauer et al. 2022, StyleGAN-XL, arXiv:2202.00273",
    source=WeightSource(
        kind="file",
        filename="imagenet256.pkl",
        origin="the avg-projects bucket that the README of autonomousvision/stylegan-xl links",
    ),
    image_size=(256, 256),
    latent_size=64,
    latent_distribution="truncated",
    psi=0.7,
    n_classes=1000,
    spaces=("z", "w", "w+"),
)

PROJECTED_GAN = ModelCard(
    name="projgan",
    role="generator",
    family="fastgan",
    title="Projected GAN (bedrooms, 256 px)",
    about=(
        "Bedrooms at 256 × 256, by a FastGAN or StyleGAN2 generator. Unverified: compared with the "
        "published structure, never with a recorded run."
    ),
    licence="As its authors state beside the file; none is recorded here",
    terms=f"Look it up before use; {_LSUN}.",
    paper="Sauer et al. 2021, Projected GANs Converge Faster, arXiv:2111.01007",
    source=WeightSource(
        kind="file",
        filename="bedroom.pkl",
        origin="the avg-projects bucket that the README of autonomousvision/projected-gan links",
    ),
    image_size=(256, 256),
    latent_size=256,
    latent_distribution="truncated",
    psi=1.0,
    spaces=("z",),
    verified=False,
)

PUBLISHED_GENERATORS: tuple[ModelCard, ...] = (
    BIGGAN,
    STYLEGAN_XL,
    _stylegan3(
        "stylegan3-ffhq",
        "unaligned faces",
        1024,
        9_893,
        "stylegan3-r-ffhqu-1024x1024.pkl",
        _FFHQ,
    ),
    _stylegan3(
        "stylegan3-afhq",
        "animal faces",
        512,
        10_973,
        "stylegan3-r-afhqv2-512x512.pkl",
        "AFHQ is CC BY-NC 4.0",
    ),
    _stylegan2("stylegan2-lsun_cat", "cats", 256, 4_882, _LSUN),
    _stylegan2("stylegan2-lsun_horse", "horses", 256, 4_882, _LSUN),
    _stylegan2("stylegan2-lsun_car", "cars", 512, 5_013, _LSUN),
    replace(_stylegan2("stylegan2-ffhq", "faces", 1024, 5_080, _FFHQ), framing="portrait"),
    PROJECTED_GAN,
)
