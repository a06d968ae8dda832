"""The FastGAN generator against its published structure, built here from torch's own modules."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from rosetta_ui.errors import BadRequestError, WeightsCorruptError
from rosetta_ui.models import fastgan
from rosetta_ui.models.foreign import ForeignGenerator, corrected_card, guess_family
from rosetta_ui.models.published_files import read_published
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import Latents, ModelCard

pytestmark = pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")

CARD = ModelCard("tiny", "generator", "fastgan", "Tiny", "Random weights.", "none", "none")
WIDTHS = {4: 24, 8: 16, 16: 12, 32: 8, 64: 8, 128: 6, 256: 4}


class Noise(nn.Module):
    """Noise of a strength, here with the converted generator's fixed map."""

    def __init__(self, side: int, which: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        seeded = torch.Generator().manual_seed(2 * side + which)
        self.map = torch.randn(1, 1, side, side, generator=seeded)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.weight * self.map


def conv(inputs: int, outputs: int, kernel: int, padding: int = 0, bias: bool = False) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, 1, padding, bias=bias))


def block(side: int, deep: bool) -> nn.Sequential:
    inputs, outputs = WIDTHS[side // 2], WIDTHS[side]
    wide = 2 * outputs
    parts: list[nn.Module] = [nn.Upsample(scale_factor=2), conv(inputs, wide, 3, 1)]
    if deep:
        parts += [Noise(side, 0), nn.BatchNorm2d(wide), nn.GLU(1)]
        parts += [conv(outputs, wide, 3, 1), Noise(side, 1)]
    return nn.Sequential(*parts, nn.BatchNorm2d(wide), nn.GLU(1))


class Gate(nn.Module):
    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        inputs, outputs = WIDTHS[small], WIDTHS[large]
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            conv(inputs, outputs, 4),
            nn.SiLU(),
            conv(outputs, outputs, 1),
            nn.Sigmoid(),
        )


class First(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        wide = 2 * WIDTHS[4]
        plain = nn.ConvTranspose2d(20, wide, 4, bias=False)
        self.init = nn.Sequential(spectral_norm(plain), nn.BatchNorm2d(wide), nn.GLU(1))


class Published(nn.Module):
    """The published network at 256 px, its modules under their published names."""

    def __init__(self) -> None:
        super().__init__()
        self.synthesis = nn.Module()
        self.synthesis.init = First()
        for i, side in enumerate((8, 16, 32, 64, 128, 256)):
            self.synthesis.add_module(f"feat_{side}", block(side, deep=i % 2 == 0))
        for small, large in ((4, 64), (8, 128), (16, 256)):
            self.synthesis.add_module(f"se_{large}", Gate(small, large))
        self.synthesis.to_big = conv(WIDTHS[256], 3, 3, 1, bias=True)

    def forward(self, z: Tensor) -> Tensor:
        parts = dict(self.synthesis.named_children())
        z = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
        maps = {4: parts["init"].init(z[:, :, None, None])}
        for side in (8, 16, 32, 64, 128, 256):
            maps[side] = parts[f"feat_{side}"](maps[side // 2])
            if side >= 64:
                maps[side] = maps[side] * parts[f"se_{side}"].main(maps[side // 16])
        return parts["to_big"](maps[256])


@pytest.fixture(scope="module")
def published() -> Published:
    torch.manual_seed(3)
    net = Published()
    for module in net.modules():
        if isinstance(module, Noise):
            nn.init.normal_(module.weight, std=0.3)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 20))
    return net.eval()


@pytest.fixture(scope="module")
def generator(published: Published) -> fastgan.FastGan:
    tensors, facts = fastgan.convert_state(ForeignGenerator(published.state_dict()))
    return fastgan.load(corrected_card(CARD, facts), tensors)


def test_it_draws_what_the_published_structure_draws(
    published: Published, generator: fastgan.FastGan
) -> None:
    z = torch.randn(2, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs, ours = published(z), generator.synthesise_from(z, "z")
    assert ours.shape == (2, 3, 256, 256)
    assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.std())


def test_its_layers_are_as_declared_and_agree_with_the_published_ones(
    published: Published, generator: fastgan.FastGan
) -> None:
    latents = generator.sample([0, 1], seed=4)
    theirs: dict[str, Tensor] = {}
    modules = dict(published.named_modules())
    handles = [
        modules[spec.name].register_forward_hook(
            lambda _m, _i, output, name=spec.name: theirs.__setitem__(name, output)
        )
        for spec in generator.layers
    ]
    with torch.inference_mode():
        published(torch.from_numpy(latents.values))
    for handle in handles:
        handle.remove()
    with tap(generator.net, generator.layers) as maps:
        generator.synthesise(latents)
    for spec in generator.layers:
        assert maps[spec.name].shape[1:] == (spec.channels, *spec.size)
        error = (maps[spec.name] - theirs[spec.name]).abs().max()
        assert float(error) <= 1e-4 * float(theirs[spec.name].std())
    assert sum(spec.channels for spec in generator.layers) == generator.card.options["units"]


def test_gradients_reach_z(generator: fastgan.FastGan) -> None:
    z = torch.randn(1, 20, requires_grad=True)
    generator.synthesise_from(z, "z").square().sum().backward()
    assert z.grad is not None
    assert bool((z.grad.abs() > 0).all())


def test_the_same_latent_gives_the_same_picture_in_any_batch(generator: fastgan.FastGan) -> None:
    three = generator.synthesise(generator.sample([5, 6, 7], seed=0))
    one = generator.synthesise(generator.sample([6], seed=0))
    assert float((three[1] - one[0]).abs().max()) <= 1e-5 * float(one.std())


def test_its_family_and_shape_come_from_the_file(
    published: Published, generator: fastgan.FastGan
) -> None:
    assert guess_family(published.state_dict()) == "fastgan"
    assert generator.card.image_size == (256, 256)
    assert generator.card.latent_size == 20


def test_an_official_file_is_read_without_its_classes(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = ModuleType("pg_modules.blocks")
    for kind in (Published, First, Gate, Noise):
        setattr(theirs, kind.__name__, kind)
        monkeypatch.setattr(kind, "__module__", theirs.__name__)
    monkeypatch.setitem(sys.modules, "pg_modules", ModuleType("pg_modules"))
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    path = tmp_path / "bedroom.pkl"
    path.write_bytes(pickle.dumps({"G": None, "D": None, "G_ema": published}))
    monkeypatch.undo()
    family, tensors, facts = read_published(path)
    expected, _ = fastgan.convert_state(ForeignGenerator(published.state_dict()))
    assert family == "fastgan"
    assert facts["image_size"] == [256, 256]
    assert all(torch.equal(tensors[key], expected[key]) for key in expected)


def test_a_file_with_a_missing_or_a_surplus_entry_is_refused_by_name(published: Published) -> None:
    state = dict(published.state_dict())
    del state["synthesis.feat_16.1.weight_v"]
    state["synthesis.embed.weight"] = torch.zeros(10, 20)
    with pytest.raises(
        WeightsCorruptError, match=r"feat_16\.1\.weight_v.*synthesis\.embed\.weight"
    ):
        fastgan.convert_state(ForeignGenerator(state))


def test_spaces_and_truncations_that_it_lacks_are_refused(generator: fastgan.FastGan) -> None:
    latents = Latents("w", np.zeros((1, 20), np.float32))
    with pytest.raises(BadRequestError, match="takes z of 20 entries"):
        generator.synthesise(latents)
    with pytest.raises(BadRequestError, match="no mean latent"):
        generator.synthesise_from(torch.zeros(1, 20), "z", psi=0.7)
