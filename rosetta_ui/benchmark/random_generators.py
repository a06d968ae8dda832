"""Generators of published shapes with random weights: for timing, where no file is at hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_ui.models import biggan_net, fastgan_net, stylegan2_net, stylegan3_net
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.registry import FAMILIES, resolve
from rosetta_ui.types import ModelCard

_MARGIN = 10
_BIGGAN_256 = (
    "F16-16 T16-16 F16-16 T16-8 F8-8 T8-8 F8-8 T8-4 F4-4 T4-2 F2-2 T2-1"  # doubles, in, out
)


def stylegan2_shape(side: int, *, widest: int = 512, base: int = 32768) -> stylegan2_net.Shape:
    """StyleGAN2 config-f at a resolution."""
    widths = [min(base // s, widest) for s in (4 << i for i in range(int(math.log2(side)) - 1))]
    channels = [(widths[0], widths[0])]
    for before, after in itertools.pairwise(widths):
        channels += [(before, after), (after, after)]
    return stylegan2_net.Shape(tuple(channels), 3, 512, 512, 0, 0, (512,) * 8, None, 4)


def stylegan3_shape(
    side: int, *, layers: int = 14, base: int = 32768, widest: int = 512, radial: bool = False
) -> stylegan3_net.Shape:
    """StyleGAN3 at a resolution: t by default, r with radial filters and twice the channels."""
    factor, kernel = (2, 1) if radial else (1, 3)
    rows = list(_schedule(side, layers, base * factor, widest * factor))
    made: list[stylegan3_net.LayerShape] = []
    before, rate_before, channels_before = rows[0][0], rows[0][1], rows[0][2]
    for i, (size, rate, channels) in enumerate(rows):
        picture = i == layers
        k = 1 if picture else kernel
        work = 2 * max(rate_before, rate)
        up, down = (1, 1) if picture else (work // rate_before, work // rate)
        taps = (0, 0) if picture else (6 * up, 6 * down)
        grown = (size - 1) * down + 1 - (before + k - 1) * up
        total = 0 if picture else grown + sum(taps) - 2
        low = 0 if picture else (total + up) // 2
        made.append(
            stylegan3_net.LayerShape(
                name=f"L{i}_{size}_{channels}",
                inputs=channels_before,
                outputs=channels,
                kernel=k,
                up=up,
                down=down,
                up_taps=taps[0],
                down_taps=taps[1],
                radial=radial and i < layers - 2,
                pad=(low, total - low),
                clamp=256.0,
                side=size,
                margin=(size - rate) // 2,
            )
        )
        before, rate_before, channels_before = size, rate, channels
    return stylegan3_net.Shape(
        layers=tuple(made),
        side=rows[0][0],
        rate=float(rows[0][1]),
        bandwidth=2.0,
        scale=0.25,
        z_size=512,
        w_size=512,
        n_classes=0,
        embed_size=0,
        mapping=(512, 512),
        class_table=False,
        means=1,
    )


def _schedule(side: int, layers: int, base: int, widest: int) -> Iterator[tuple[int, int, int]]:
    """(size, sampling rate, channels) of each layer, by StyleGAN3's published rule."""
    first, last = 2.0, side / 2
    first_stop, last_stop = 2**2.1, side / 2 * 2**0.3
    for i in range(layers + 1):
        share = min(i / (layers - 2), 1)
        cutoff = first * (last / first) ** share
        stop = first_stop * (last_stop / first_stop) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stop, side)))
        size = side if i >= layers - 1 else rate + 2 * _MARGIN
        yield size, rate, 3 if i == layers else round(min(base / 2 / cutoff, widest))


def biggan_shape(channels: int = 128, blocks: str = _BIGGAN_256) -> biggan_net.Shape:
    """BigGAN-deep at 256 px."""
    rows: list[tuple[bool, int, int, int]] = []
    for word in blocks.split():
        before, after = (int(x) * channels for x in word[1:].split("-"))
        rows.append((word[0] == "T", before, before // 4, after))
    return biggan_net.Shape(tuple(rows), 8, 128, 1000, 128, 51, 1e-4, channels)


def fastgan_shape(width: int = 128, side: int = 256) -> fastgan_net.Shape:
    """FastGAN at 256 px or more."""
    count = int(math.log2(side)) - 1
    factors = (16, 8, 4, 2, 2, 1, 0.5, 0.25, 0.125)[:count]
    return fastgan_net.Shape(256, tuple(int(f * width) for f in factors), (True,) * (count - 1), 3)


def random_generator(family: str, shape: Any, seed: int = 0) -> Generator:
    """A generator of a family's shape, with weights that keep its maps at a common size.

    Args:
        family: key of `FAMILIES`.
        shape: the family's `Shape`.
        seed: of the weights.
    """
    facts = asdict(shape)
    nets: dict[str, Callable[[Any], nn.Module]] = {
        "stylegan2": stylegan2_net.StyleGan2Net,
        "stylegan3": stylegan3_net.StyleGan3Net,
        "biggan": biggan_net.BigGanNet,
        "fastgan": fastgan_net.FastGanNet,
    }
    with torch.device("meta"):
        like = nets[family](shape).state_dict()
    seeded = torch.Generator().manual_seed(seed)
    tensors = {key: _random(key, tensor.shape, seeded) for key, tensor in like.items()}
    card = ModelCard(
        f"random-{family}",
        "generator",
        family,
        "Random weights",
        "Random weights of a published shape.",
        "none",
        "none",
        latent_size=shape.z_size,
        n_classes=getattr(shape, "n_classes", 0),
        image_size=(shape.resolution, shape.resolution),
        options=facts,
    )
    generator = resolve(FAMILIES[family].load)(card, tensors)
    if not isinstance(generator, Generator):
        raise TypeError(f"{family} is no family of generators")
    return generator


def _random(key: str, size: torch.Size, seeded: torch.Generator) -> Tensor:
    name = key.rpartition(".")[2]
    if name == "gain":
        return torch.tensor(2**0.5)
    if name == "transform":
        return torch.eye(3)
    if name.endswith("filter"):
        return _filter(size, 2.0 if name == "filter" else 1.0)
    values = torch.randn(size, generator=seeded)
    if name.startswith("running_var"):
        return values.square() + 0.5
    if key.endswith("affine.bias"):
        return 1 + 0.1 * values
    if name in ("bias", "noise", "strength", "running_means", "gamma"):
        return 0.1 * values
    fan_in = values[0].numel() if values.ndim > 1 and name == "weight" else 1
    # Norms whose scales vary much make a deep random network chaotic: rounding would show.
    calm = 0.1 if ".scale." in key or ".offset." in key else 1.0
    return values * calm / math.sqrt(fan_in)


def _filter(size: torch.Size, total: float) -> Tensor:
    """A low-pass filter an axis, or a radial one that is no product of two."""
    place = torch.arange(size[0]) - (size[0] - 1) / 2
    if len(size) == 2:
        place = (place.square()[:, None] + place.square()).sqrt()
    taps = torch.cos((place / size[0] * math.pi).clamp(-math.pi / 2, math.pi / 2)).square()
    return taps * total / taps.sum()
