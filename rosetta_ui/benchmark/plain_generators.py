"""The generators written plainly, on the same tensors: what `bench generators` compares with.

Weights are styled for every sample and convolved in groups, zeros are inserted before filters run
over whole maps, repeated maps are made before they are convolved, and nothing is left out or fused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.models import biggan_net, fastgan_net
from rosetta_ui.models.doubling import DoublingConv
from rosetta_ui.models.filters import resample
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.style_layers import ModulatedConv, StyleGenerator
from rosetta_ui.models.stylegan2_net import StyledConv, StyleGan2Net, ToRgb, UpConv
from rosetta_ui.models.stylegan3_net import Layer, StyleGan3Net


def _modulated(conv: ModulatedConv, maps: Tensor, w: Tensor) -> Tensor:
    """A modulated convolution with weights of its own for every sample."""
    style: Tensor = conv.affine(w)
    weight = conv.weight.transpose(0, 1) if conv.transposed else conv.weight
    weights = weight * style[:, None, :, None, None]
    if conv.demodulates:
        norm = weights.square().sum((2, 3, 4), keepdim=True) + 1e-8
        weights = weights * conv.gain * norm.rsqrt()
    n, outputs, inputs = weights.shape[:3]
    flat = maps.reshape(1, n * inputs, *maps.shape[2:])
    if conv.transposed:
        kernels = weights.transpose(1, 2).reshape(n * inputs, outputs, *weights.shape[3:])
        made = functional.conv_transpose2d(flat, kernels, stride=2, groups=n)
    else:
        kernels = weights.reshape(n * outputs, inputs, *weights.shape[3:])
        made = functional.conv2d(flat, kernels, padding=conv.padding, groups=n)
    made = made.view(n, outputs, *made.shape[2:])
    return made if conv.bias is None else made + conv.bias[:, None, None]


def _styled(layer: nn.Module, maps: Tensor, w: Tensor) -> Tensor:
    if not isinstance(layer, StyledConv):
        raise TypeError("not a layer of StyleGAN2")
    conv, activate = layer.conv, layer.activate
    maps = _modulated(conv, maps, w)
    if isinstance(conv, UpConv):
        square = torch.outer(conv.filter, conv.filter)
        maps = resample(maps, square, up=1, down=1, pad=conv.pad)
    return functional.leaky_relu(maps + activate.noise + activate.bias[:, None, None], 0.2)


def _coloured(layer: nn.Module, maps: Tensor, w: Tensor, picture: Tensor | None) -> Tensor:
    if not isinstance(layer, ToRgb):
        raise TypeError("not a picture layer of StyleGAN2")
    own = _modulated(layer.conv, maps, w) + layer.colour.bias[:, None, None]
    if picture is None:
        return own
    return own + resample(picture, layer.filter, up=2, down=1, pad=layer.pad)


def stylegan2(net: StyleGan2Net, ws: Tensor) -> Tensor:
    """w+ [n, n_ws, w_size] → images."""
    maps = _styled(net.conv1, net.const.expand(len(ws), -1, -1, -1), ws[:, 0])
    picture = _coloured(net.to_rgb1, maps, ws[:, 1], None)
    for i, to_rgb in enumerate(net.to_rgbs):
        maps = _styled(net.convs[2 * i], maps, ws[:, 2 * i + 1])
        maps = _styled(net.convs[2 * i + 1], maps, ws[:, 2 * i + 2])
        picture = _coloured(to_rgb, maps, ws[:, 2 * i + 3], picture)
    return picture


def stylegan3(net: StyleGan3Net, ws: Tensor) -> Tensor:
    """w+ [n, n_ws, w_size] → images."""
    synthesis = net.synthesis
    maps = synthesis.input(ws[:, 0])
    for i, name in enumerate(synthesis.names):
        layer = synthesis.get_submodule(name)
        if not isinstance(layer, Layer):
            raise TypeError("not a layer of StyleGAN3")
        maps = _modulated(layer.conv, maps, ws[:, i + 1])
        filters = layer.activation
        if filters is not None:
            up = filters.shape.up
            grown = resample(
                maps, filters.up_filter, up=up, down=1, pad=filters.pad, gain=float(up**2)
            )
            maps = functional.leaky_relu(grown, 0.2)
        if layer.clamp is not None:
            maps = maps.clamp(-layer.clamp, layer.clamp)
        if filters is not None:
            maps = resample(maps, filters.down_filter, up=1, down=filters.shape.down, pad=(0, 0))
    return maps * synthesis.scale


def _convolved(conv: nn.Module, maps: Tensor) -> Tensor:
    if isinstance(conv, DoublingConv):
        repeated = functional.interpolate(maps, scale_factor=2.0, mode="nearest")
        return functional.conv2d(repeated, conv.weight, conv.bias, padding=1)
    return conv(maps)


def biggan(net: biggan_net.BigGanNet, condition: Tensor) -> Tensor:
    """Condition [n, z and embedding] → images, without truncation."""
    trunk = net.generator
    whole = biggan_net.Truncation(1.0, net.n_stats)

    def normed(norm: biggan_net.Norm, maps: Tensor) -> Tensor:
        mean, var = whole.of(norm.running_means), whole.of(norm.running_vars)
        if norm.conditional:
            weight = (1 + norm.scale(condition))[:, :, None, None]
            bias = norm.offset(condition)[:, :, None, None]
        else:
            weight, bias = norm.weight[:, None, None], norm.bias[:, None, None]
        maps = functional.batch_norm(maps, mean, var, eps=norm.eps)
        return functional.relu(maps * weight + bias)

    maps = trunk.gen_z(condition).view(len(condition), -1, 4, 4)
    for layer in trunk.layers:
        if not isinstance(layer, biggan_net.Block):
            maps = layer(maps, condition, whole)
            continue
        deep = layer.conv_0(normed(layer.bn_0, maps))
        deep = _convolved(layer.conv_1, normed(layer.bn_1, deep))
        deep = layer.conv_2(normed(layer.bn_2, deep))
        deep = layer.conv_3(normed(layer.bn_3, deep))
        short = maps[:, : layer.out]
        if layer.up:
            short = functional.interpolate(short, scale_factor=2.0, mode="nearest")
        maps = deep + short
    return torch.tanh(trunk.conv_to_rgb(normed(trunk.bn, maps))[:, :3])


def fastgan(net: fastgan_net.FastGanNet, z: Tensor) -> Tensor:
    """Z [n, z_size] → images."""

    def walked(module: nn.Module, maps: Tensor) -> Tensor:
        for part in module.children():
            maps = _convolved(part, maps)
        return maps

    return net.synthesis.walk(z, walked)


def plain(generator: Generator) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The plain and the real drawing of a generator, both from z [n, latent]."""
    net = generator.net
    if isinstance(net, biggan_net.BigGanNet):
        big = net
        zeros = torch.zeros(1, generator.card.n_classes)
        zeros[:, 0] = 1
        return (
            lambda z: biggan(big, big.condition(z, zeros.expand(len(z), -1))),
            lambda z: generator.synthesise_from(z, "z", class_index=0),
        )
    if isinstance(net, fastgan_net.FastGanNet):
        fast = net
        return (lambda z: fastgan(fast, z)), (lambda z: generator.synthesise_from(z, "z"))
    if not isinstance(generator, StyleGenerator):
        raise TypeError(f"'{generator.card.name}' has no plain implementation")
    style = generator
    return (lambda z: _style(style, style.to_w(z))), (lambda z: style.synthesise_from(z, "z"))


def _style(generator: StyleGenerator, ws: Tensor) -> Tensor:
    net = generator.net
    if isinstance(net, StyleGan2Net):
        return stylegan2(net, ws)
    if isinstance(net, StyleGan3Net):
        return stylegan3(net, ws)
    raise TypeError(f"'{generator.card.name}' has no plain implementation")
