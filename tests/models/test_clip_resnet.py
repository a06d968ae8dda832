"""CLIP's ResNet against a second implementation, written from its paper and its key names."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn

from rosetta_ui.models.cards_published_backbones import CLIP
from rosetta_ui.models.timm_backbones import convert, load
from rosetta_ui.probing.taps import tap


class _Block(nn.Module):
    """Bottleneck whose stride is an average pooling in front of a convolution, on both paths."""

    def __init__(self, width: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * inner)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = None
        if stride > 1 or width != 4 * inner:
            self.downsample = nn.Sequential()
            self.downsample.add_module("-1", nn.AvgPool2d(stride))
            self.downsample.add_module("0", nn.Conv2d(width, 4 * inner, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(4 * inner))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.pool(torch.relu(self.bn2(self.conv2(out))))
        out = self.bn3(self.conv3(out))
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))


class _AttentionPool(nn.Module):
    """Only its numbers: the maps are read before it."""

    def __init__(self, width: int, positions: int, out: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(positions + 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, out)


class _Tower(nn.Module):
    """CLIP's ResNet-50 with OpenAI's key names."""

    def __init__(self) -> None:
        super().__init__()
        for number, (wide, out) in enumerate(((3, 32), (32, 32), (32, 64)), start=1):
            stride = 2 if number == 1 else 1
            conv = nn.Conv2d(wide, out, 3, stride=stride, padding=1, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(out))
        self.layer1 = self._stage(64, 64, 3, 1)
        self.layer2 = self._stage(256, 128, 4, 2)
        self.layer3 = self._stage(512, 256, 6, 2)
        self.layer4 = self._stage(1024, 512, 3, 2)
        self.attnpool = _AttentionPool(2048, 49, 1024)

    @staticmethod
    def _stage(width: int, inner: int, depth: int, stride: int) -> nn.Sequential:
        blocks = [_Block(width, inner, stride)]
        blocks += [_Block(4 * inner, inner, 1) for _ in range(depth - 1)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        for number in (1, 2, 3):
            conv, norm = self.get_submodule(f"conv{number}"), self.get_submodule(f"bn{number}")
            x = torch.relu(norm(conv(x)))
        x = nn.functional.avg_pool2d(x, 2)
        maps: list[Tensor] = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


def test_openais_file_gives_the_maps_that_clips_paper_describes() -> None:
    torch.manual_seed(4)
    theirs = _Tower()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.bias) * 0.1
            module.running_var = torch.rand_like(module.bias) + 0.5
            nn.init.uniform_(module.weight, 0.2, 0.6)
    theirs.eval()
    stream = io.BytesIO()
    state = {f"visual.{key}": value for key, value in theirs.state_dict().items()}
    text = {"transformer.resblocks.0.ln_1.weight": torch.ones(8), "logit_scale": torch.ones(())}
    torch.save({**state, **text}, stream)
    tensors, _ = convert({"RN50.pt": stream.getvalue()}, CLIP)
    ours = load(CLIP, tensors)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs(images)
        with tap(ours.net, ours.layers) as maps:
            ours.net(images)
    assert list(maps) == ["layer1", "layer2", "layer3", "layer4"]
    for found, wanted in zip(maps.values(), expected, strict=True):
        assert wanted.std() > 1e-3
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.std()))
